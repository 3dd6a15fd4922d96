"""Self-attention inside a CNN: every cell of a feature map looks at every other."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.validation import check_positive
from keras_attention.ops.attention import context, masked_softmax

FORMS = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")


class ImageAttention(keras.layers.Layer):
    """Base of both blocks: `x + gate(output(weights values))`; a block says how it weighs.

    Shapes: B batch, H rows, W columns, N = H W cells, M cells after pooling, C channels, U of them
    after the reduction.

    Args:
        reduction: U is C divided by it, rounded down.
        pool_size: the cells that are looked at are the maximum over squares of this side.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.
    """

    output_initializer = "glorot_uniform"

    def __init__(self, reduction: int, pool_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("reduction", reduction)
        check_positive("pool_size", pool_size)
        self.reduction = reduction
        self.pool_size = pool_size
        # "same": where the side does not divide H or W, the squares at the edge are smaller
        self.pool = keras.layers.MaxPooling2D(
            pool_size, padding="same", data_format="channels_last", dtype=self.dtype_policy
        )

    def build(self, x_shape):
        if len(x_shape) != 4:
            raise ValueError(
                "x: expected a feature map (batch, rows, columns, channels). "
                f"Received: x.shape={tuple(x_shape)}"
            )
        channels = x_shape[-1]
        if channels < self.reduction:
            raise ValueError(
                "reduction: expected at most the number of channels. "
                f"Received: reduction={self.reduction}, x.shape={tuple(x_shape)}"
            )
        self.width = channels // self.reduction
        inner_shape = (*x_shape[:-1], self.width)
        self.value_conv = self.convolution("value", self.width, x_shape)
        self.output_conv = self.convolution(
            "output", channels, inner_shape, self.output_initializer
        )
        self.built = True

    def convolution(self, name, units, x_shape, initializer="glorot_uniform"):
        """A built 1x1 convolution; the papers' have no bias."""
        layer = keras.layers.Conv2D(
            units,
            1,
            use_bias=False,
            kernel_initializer=initializer,
            data_format="channels_last",
            name=name,
            dtype=self.dtype_policy,
        )
        build_if_needed(layer, x_shape)
        return layer

    def weigh(self, x: Any):
        """How much each cell takes of each pooled cell: (B, H, W, C) -> (B, N, M)."""
        raise NotImplementedError("abstract")

    def gate(self, x: Any):
        """What becomes of the output before it is added."""
        return x

    def pooled(self, x: Any):
        """The cells that are looked at."""
        return self.pool(x) if self.pool_size > 1 else x

    def call(self, x, return_attention_scores=False):
        weights = ops.cast(self.weigh(x), self.compute_dtype)  # (B, N, M)
        y = context(weights, flat(self.pooled(self.value_conv(x))))  # (B, N, U)
        batch, rows, columns, _ = ops.shape(x)
        y = self.output_conv(ops.reshape(y, (batch, rows, columns, self.width)))  # (B, H, W, C)
        y = x + self.gate(y)
        return (y, weights) if return_attention_scores else y

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "pool_size": self.pool_size,
        }


def flat(x: Any):
    """Cells in a row: (B, H, W, C) -> (B, H W, C)."""
    return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1]))


def dot(query: Any, keys: Any):
    """`q . k`, (B, N, U) and (B, M, U) to (B, N, M); unscaled, it would leave float16's range."""
    query, keys = ops.cast(query, "float32"), ops.cast(keys, "float32")
    return ops.matmul(query, ops.transpose(keys, (0, 2, 1)))


@keras.saving.register_keras_serializable(package="keras_attention")
class SelfAttention2D(ImageAttention):
    """The self-attention block of SAGAN (Zhang et al. 2019, section 3).

        s_ij = f(x_i) . g(x_j),  beta_ji = exp(s_ij) / sum_i exp(s_ij)      (1)
        o_j = v(sum_i beta_ji h(x_i))                                       (2)
        y_i = gamma o_i + x_i                                               (3)

    f, g, h and v are 1x1 convolutions, f, g and h to C / reduction channels. gamma is learned and
    begins at 0: the block begins as the identity, and the network with what is near. As in the
    authors' code f and h are max-pooled, so that fewer cells are looked at; that code has C / 2
    channels in h, where the paper has C / 8.

    Args:
        reduction: k in the paper's `C / k`.
        pool_size: side of the squares over which f and h are pooled; 1 does not pool.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        x: (B, H, W, C).
        return_attention_scores: return the pair `(y, scores)`.

    Returns:
        y (B, H, W, C), or the pair of it and the scores beta (B, H W, cells after pooling); both
        kinds of cells are row-major.

    Raises:
        ValueError: if a number is not positive; when built, if x has not four axes, or fewer
            channels than `reduction`.

    References:
        Zhang et al. 2019, [Self-Attention Generative Adversarial
        Networks](https://arxiv.org/abs/1805.08318).

    Example:

    >>> import numpy as np
    >>> y, scores = SelfAttention2D()(np.ones((2, 8, 6, 16)), return_attention_scores=True)
    >>> tuple(y.shape), tuple(scores.shape)
    ((2, 8, 6, 16), (2, 48, 12))
    """

    def __init__(self, reduction: int = 8, pool_size: int = 2, **kwargs: Any):
        super().__init__(reduction, pool_size, **kwargs)

    def build(self, x_shape):
        super().build(x_shape)
        self.query_conv = self.convolution("query", self.width, x_shape)  # g
        self.key_conv = self.convolution("key", self.width, x_shape)  # f
        self.gamma = self.add_weight(shape=(), initializer="zeros", name="gamma")

    def weigh(self, x):
        keys = self.pooled(self.key_conv(x))
        return masked_softmax(dot(flat(self.query_conv(x)), flat(keys)))  # equation 1

    def gate(self, x):
        return ops.cast(self.gamma, x.dtype) * x


@keras.saving.register_keras_serializable(package="keras_attention")
class NonLocal2D(ImageAttention):
    """The non-local block, in four forms (Wang et al. 2018, section 3).

        y_i = 1 / C(x) sum_j f(x_i, x_j) g(x_j)     (1)
        z_i = W_z y_i + x_i                         (6)

    | `form` | f(x_i, x_j) | C(x) | equation |
    | --- | --- | --- | --- |
    | `"gaussian"` | `exp(x_i . x_j)` | `sum_j f(x_i, x_j)` | 2 |
    | `"embedded_gaussian"` | `exp(theta(x_i) . phi(x_j))` | `sum_j f(x_i, x_j)` | 3 |
    | `"dot_product"` | `theta(x_i) . phi(x_j)` | number of j | 4 |
    | `"concatenation"` | `relu(w_f . [theta(x_i), phi(x_j)])` | number of j | 5 |

    theta, phi and g are 1x1 convolutions to C / reduction channels. W_z begins at 0, so that the
    block begins as the identity (section 3.3).

    Args:
        form: see the table.
        reduction: 2 is the paper's bottleneck.
        pool_size: side of the squares over which x_j (Gaussian) or phi, and g, are max-pooled: the
            paper's subsampling, where 1 does not pool.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        x: (B, H, W, C).
        return_attention_scores: return the pair `(z, scores)`.

    Returns:
        z (B, H, W, C), or the pair of it and the scores `f(x_i, x_j) / C(x)` (B, H W, cells after
        pooling), both kinds of cells row-major. Those of the last two forms do not sum to 1.

    Raises:
        ValueError: if the form is unknown or a number is not positive; when built, if x has not
            four axes, or fewer channels than `reduction`.

    References:
        Wang et al. 2018, [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).

    Example:

    >>> from keras import ops
    >>> layer, x = NonLocal2D("dot_product"), ops.ones((2, 8, 6, 16))
    >>> bool(ops.all(layer(x) == x))
    True
    """

    output_initializer = "zeros"

    def __init__(
        self,
        form: str = "embedded_gaussian",
        reduction: int = 2,
        pool_size: int = 1,
        **kwargs: Any,
    ):
        super().__init__(reduction, pool_size, **kwargs)
        if form not in FORMS:
            raise ValueError(f"form: expected one of {FORMS}. Received: form={form!r}")
        self.form = form

    def build(self, x_shape):
        super().build(x_shape)
        if self.form != "gaussian":
            self.query_conv = self.convolution("query", self.width, x_shape)  # theta
            self.key_conv = self.convolution("key", self.width, x_shape)  # phi
        if self.form == "concatenation":
            self.w_f = self.add_weight(
                shape=(2 * self.width, 1), initializer="glorot_uniform", name="w_f"
            )

    def weigh(self, x):
        if self.form == "gaussian":
            return masked_softmax(dot(flat(x), flat(self.pooled(x))))  # equation 2
        query = flat(self.query_conv(x))  # (B, N, U)
        keys = flat(self.pooled(self.key_conv(x)))  # (B, M, U)
        if self.form == "embedded_gaussian":
            return masked_softmax(dot(query, keys))  # equation 3
        if self.form == "dot_product":
            energies = dot(query, keys)  # equation 4
        else:
            energies = self._concatenated(query, keys)
        return energies / ops.cast(ops.shape(energies)[2], "float32")

    def _concatenated(self, query, keys):
        # Equation 5; the product with each half of w_f, so that no pair is written out.
        w_f = ops.cast(self.w_f, "float32")
        of_query = ops.matmul(ops.cast(query, "float32"), w_f[: self.width])  # (B, N, 1)
        expand_key_mask = ops.matmul(ops.cast(keys, "float32"), w_f[self.width :])  # (B, M, 1)
        return ops.relu(of_query + ops.transpose(expand_key_mask, (0, 2, 1)))

    def get_config(self) -> dict:
        return {**super().get_config(), "form": self.form}
