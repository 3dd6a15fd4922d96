"""Residual connection of a Transformer sub-layer, with normalization and dropout."""

from typing import Any

import keras
from keras import ops

NORMS = ("pre", "post", "sandwich")
NORM_KINDS = ("layer", "rms")


class Residual(keras.layers.Layer):
    """Residual connection with normalization and dropout around a sub-layer.

    | `norm` | output | reference |
    | --- | --- | --- |
    | `"post"` | `norm(x + f(x))` | Vaswani et al. 2017, section 3.1 |
    | `"pre"` | `x + f(norm(x))` | Xiong et al. 2020 |
    | `"sandwich"` | `x + norm'(f(norm(x)))` | Ding et al. 2021, section 3.2 |

    The layer is not called. Apply `before` to the input of the sub-layer `f`, and `after` to its
    output, so that the sub-layer itself stays visible in the code of the block.

    Args:
        norm: placement of the normalization, see the table.
        norm_kind: `"layer"` for layer normalization (Ba et al. 2016), `"rms"` for RMSNorm (Zhang
            and Sennrich 2019).
        dropout: dropout rate applied to the sub-layer's output.
        stochastic_depth: probability of skipping the sub-layer for a sample during training (Huang
            et al. 2016). The output of a sub-layer that is not skipped is divided by
            `1 - stochastic_depth`, so that nothing changes at inference.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Raises:
        ValueError: If `norm` or `norm_kind` is unknown.

    References:
        Xiong et al. 2020, [On Layer Normalization in the Transformer
        Architecture](https://arxiv.org/abs/2002.04745). Ding et al. 2021,
        [CogView](https://arxiv.org/abs/2105.13290). Huang et al. 2016, [Deep Networks with
        Stochastic Depth](https://arxiv.org/abs/1603.09382).

    Example:

    >>> import numpy as np
    >>> residual = Residual(norm="pre")
    >>> residual.build((None, None, 4))
    >>> x = np.ones((2, 3, 4), "float32")
    >>> y = 2 * residual.before(x) + 1
    >>> float(residual.after(x, y)[0, 0, 0])
    2.0
    """

    def __init__(
        self,
        norm: str = "pre",
        norm_kind: str = "layer",
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if norm not in NORMS:
            raise ValueError(f"`norm` must be one of {NORMS}. Received: norm={norm!r}")
        dtype = self.dtype_policy
        self.norm = norm
        self.norm_layer = make_norm(norm_kind, name="norm", dtype=dtype)
        if norm == "sandwich":
            self.second_norm = make_norm(norm_kind, name="second_norm", dtype=dtype)
        self.dropout = keras.layers.Dropout(dropout, dtype=dtype)
        # One draw per sample, for all positions and features.
        self.stochastic_depth = keras.layers.Dropout(
            stochastic_depth, noise_shape=(None, 1, 1), dtype=dtype
        )

    def build(self, x_shape):
        self.norm_layer.build(x_shape)
        if self.norm == "sandwich":
            self.second_norm.build(x_shape)
        self.built = True

    def before(self, x: Any):
        """Returns the input of the sub-layer.

        Args:
            x: Input of the residual connection, `(B, T, D)`.

        Returns:
            `x` for post-LN, the normalized `x` otherwise, `(B, T, D)`.
        """
        return x if self.norm == "post" else self.norm_layer(x)

    def after(self, x: Any, y: Any, training: bool = False):
        """Adds the output of the sub-layer to its input.

        Args:
            x: Input of the residual connection, `(B, T, D)`.
            y: Output of the sub-layer, `(B, T, D)`.
            training: Whether to apply dropout and stochastic depth.

        Returns:
            Sum of both, normalized for post-LN, `(B, T, D)`.
        """
        if self.norm == "sandwich":
            y = self.second_norm(y)
        y = self.stochastic_depth(self.dropout(y, training=training), training=training)
        # `ops.add` takes a batch of size 0 for a bias on TensorFlow
        y = ops.convert_to_tensor(x) + y
        return self.norm_layer(y) if self.norm == "post" else y


def make_norm(kind: str, **kwargs: Any) -> keras.layers.Layer:
    """Builds a normalization layer over the features.

    Args:
        kind: `"layer"` or `"rms"`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Returns:
        A `keras.layers.LayerNormalization` or `keras.layers.RMSNormalization`.

    Raises:
        ValueError: If `kind` is unknown.
    """
    if kind not in NORM_KINDS:
        raise ValueError(f"`norm_kind` must be one of {NORM_KINDS}. Received: norm_kind={kind!r}")
    if kind == "rms":
        norm = keras.layers.RMSNormalization(epsilon=1e-6, **kwargs)
    else:
        norm = keras.layers.LayerNormalization(epsilon=1e-5, **kwargs)
    norm.supports_masking = True  # avoids Keras's warning about masked inputs
    return norm
