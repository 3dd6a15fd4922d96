"""What goes around every sub-layer of a Transformer: the sum, the norm, and dropout."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

NORMS = ("pre", "post", "sandwich")
KINDS = ("layer", "rms")


class Residual(keras.layers.Layer):
    """Adds a sub-layer to what goes past it.

    | `norm` | output | from |
    | --- | --- | --- |
    | `"post"` | `norm(x + f(x))` | Vaswani et al. 2017, section 3.1 |
    | `"pre"` | `x + f(norm(x))` | Xiong et al. 2020 |
    | `"sandwich"` | `x + norm'(f(norm(x)))` | Ding et al. 2021, section 3.2 |

    Dropout and stochastic depth act on what the sub-layer gives. Stochastic depth (Huang et al.
    2016) leaves it out for a row with probability `stochastic_depth`, and divides it by the
    probability of staying, so that nothing changes when the model is used.

    Args:
        norm: see the table.
        norm_kind: `"layer"` (Ba et al. 2016) or `"rms"` (Zhang and Sennrich 2019).
        dropout: rate on what the sub-layer gives.
        stochastic_depth: rate of leaving the sub-layer out.

    Raises:
        ValueError: if `norm` or `norm_kind` is unknown.

    Example:

    >>> import numpy as np
    >>> residual = Residual(norm="pre")
    >>> residual.build((None, None, 4))
    >>> x, aside = residual.around(np.ones((2, 3, 4), "float32"), lambda x: (x + 1, "kept"))
    >>> float(x[0, 0, 0]), aside
    (2.0, 'kept')
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
            raise ValueError(f"norm: expected one of {NORMS}. Received: norm={norm!r}")
        same = {"dtype": self.dtype_policy}
        self.norm = norm
        self.norm_layer = make_norm(norm_kind, name="norm", **same)
        if norm == "sandwich":
            self.second_norm = make_norm(norm_kind, name="second_norm", **same)
        self.dropout = keras.layers.Dropout(dropout, **same)
        # one draw for a row, whatever its length
        self.depth = keras.layers.Dropout(stochastic_depth, noise_shape=(None, 1, 1), **same)

    def build(self, x_shape):
        self.norm_layer.build(x_shape)
        if self.norm == "sandwich":
            self.second_norm.build(x_shape)
        self.built = True

    def around(self, x: Any, sublayer: Callable, training: bool = False) -> tuple[Any, Any]:
        """Runs a sub-layer inside.

        Args:
            x: (B, T, D).
            sublayer: takes (B, T, D), returns the pair of (B, T, D) and something of its own.
            training: whether there is dropout.

        Returns:
            (B, T, D), and that something.
        """
        y, aside = sublayer(x if self.norm == "post" else self.norm_layer(x))
        if self.norm == "sandwich":
            y = self.second_norm(y)
        y = ops.add(x, self.depth(self.dropout(y, training=training), training=training))
        return self.norm_layer(y) if self.norm == "post" else y, aside


def make_norm(kind: str, **kwargs: Any) -> keras.layers.Layer:
    """A norm over the features.

    Raises:
        ValueError: if the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"norm_kind: expected one of {KINDS}. Received: norm_kind={kind!r}")
    if kind == "rms":
        norm = keras.layers.RMSNormalization(epsilon=1e-6, **kwargs)
    else:
        norm = keras.layers.LayerNormalization(epsilon=1e-5, **kwargs)
    norm.supports_masking = True  # or it warns of every masked input
    return norm
