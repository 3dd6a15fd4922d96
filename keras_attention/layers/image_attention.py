"""Self-attention inside a CNN: each cell of a feature map attends to all cells."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.ops import scores
from keras_attention.ops.attention import context, masked_softmax
from keras_attention.ops.dtypes import at_least_float32
from keras_attention.types import Tensor
from keras_attention.utils.validation import check_one_of, check_positive

FORMS = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")


class ImageAttention(keras.layers.Layer):
    """Base class of the two blocks: `x + scale_output(output_conv(weights values))`.

    A subclass implements `compute_weights`.

    Shapes: B batch, H rows, W columns, N = H W cells, M cells after pooling, C channels, U channels
    after the reduction. The computation is channels-last in both data formats.

    Args:
        reduction: C is divided by it, rounded down, to give U.
        pool_size: side of the squares over which keys and values are max-pooled.
        data_format: `"channels_last"` or `"channels_first"`; `None` takes Keras's setting.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.
    """

    output_initializer = "glorot_uniform"

    def __init__(
        self, reduction: int, pool_size: int, data_format: str | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        check_positive("reduction", reduction)
        check_positive("pool_size", pool_size)
        if data_format is None:
            data_format = keras.config.image_data_format()
        check_one_of("data_format", data_format, ("channels_last", "channels_first"))
        self.data_format = data_format
        self.reduction = reduction
        self.pool_size = pool_size
        # "same": if the side does not divide H or W, the squares at the border are smaller
        self.pool = keras.layers.MaxPooling2D(
            pool_size, padding="same", data_format="channels_last", dtype=self.dtype_policy
        )

    def build(self, x_shape):
        first = self.data_format == "channels_first"
        if len(x_shape) != 4:
            axes = (
                "(batch, channels, rows, columns)" if first else "(batch, rows, columns, channels)"
            )
            raise ValueError(
                f"`x` must be a feature map {axes}. Received: x.shape={tuple(x_shape)}"
            )
        channels = self.channels = x_shape[1 if first else 3]
        if channels < self.reduction:
            raise ValueError(
                "`reduction` must be at most the number of channels. "
                f"Received: reduction={self.reduction}, x.shape={tuple(x_shape)}"
            )
        self.reduced_channels = channels // self.reduction
        self.value_conv = self.convolution("value", channels, self.reduced_channels)
        self.output_conv = self.convolution(
            "output", self.reduced_channels, channels, self.output_initializer
        )
        self.built = True

    def convolution(
        self, name: str, channels: int, filters: int, initializer: str = "glorot_uniform"
    ) -> keras.layers.Conv2D:
        """Returns a built 1x1 convolution of this many channels, without bias as in the papers."""
        layer = keras.layers.Conv2D(
            filters,
            1,
            use_bias=False,
            kernel_initializer=initializer,
            data_format="channels_last",
            name=name,
            dtype=self.dtype_policy,
        )
        build_if_needed(layer, (None, None, None, channels))
        return layer

    def compute_weights(self, x: Tensor) -> Tensor:
        """Computes the weights of the pooled cells for each cell, (B, H, W, C) -> (B, N, M).

        They are in float32, or float64 if that is the dtype of `x`.
        """
        raise NotImplementedError("A subclass of ImageAttention must implement `compute_weights`.")

    def scale_output(self, y: Tensor) -> Tensor:
        """Scales the output before it is added to `x`; by default returns it."""
        return y

    def pool_cells(self, x: Tensor) -> Tensor:
        """Max-pools a feature map of keys or values."""
        return self.pool(x) if self.pool_size > 1 else x

    def call(
        self, x: Tensor, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        if self.data_format == "channels_first":
            x = ops.transpose(x, (0, 2, 3, 1))  # (B, H, W, C)
        weights = self.compute_weights(x)  # (B, N, M)
        values = flatten_cells(self.pool_cells(self.value_conv(x)))  # (B, M, U)
        y = context(weights, ops.cast(values, weights.dtype))  # (B, N, U)
        batch, rows, columns, _ = ops.shape(x)
        y = ops.reshape(y, (batch, rows, columns, self.reduced_channels))
        y = ops.cast(y, self.compute_dtype)  # (B, H, W, U)
        y = x + self.scale_output(self.output_conv(y))  # (B, H, W, C)
        if self.data_format == "channels_first":
            y = ops.transpose(y, (0, 3, 1, 2))  # (B, C, H, W)
        return (y, ops.cast(weights, self.compute_dtype)) if return_attention_scores else y

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "pool_size": self.pool_size,
            "data_format": self.data_format,
        }


def flatten_cells(x: Tensor) -> Tensor:
    """Flattens rows and columns, (B, H, W, C) -> (B, H W, C)."""
    batch, rows, columns, channels = ops.shape(x)
    return ops.reshape(x, (batch, rows * columns, channels))


def wide_dot(query: Tensor, keys: Tensor) -> Tensor:
    """Computes `scores.dot` in float32 at least, as these unscaled products can be large."""
    return scores.dot(at_least_float32(query), at_least_float32(keys))


@keras.saving.register_keras_serializable(package="keras_attention")
class SelfAttention2D(ImageAttention):
    """Self-attention block of SAGAN (Zhang et al. 2019, section 3).

        s_ij = f(x_i) . g(x_j),  beta_ji = exp(s_ij) / sum_i exp(s_ij)      (1)
        o_j = v(sum_i beta_ji h(x_i))                                       (2)
        y_i = gamma o_i + x_i                                               (3)

    f, g, h and v are 1x1 convolutions; f, g and h have C / reduction channels. gamma is learned and
    initially 0, so the block starts as the identity and the network first relies on the
    neighborhood. As in the authors' code, f and h are max-pooled to reduce the number of keys; that
    code has C / 2 channels in h, the paper C / 8.

    Args:
        reduction: k in the paper's `C / k`.
        pool_size: side of the squares over which f and h are max-pooled; 1 disables pooling.
        data_format: `"channels_last"` or `"channels_first"`; `None` takes Keras's setting.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        x: (B, H, W, C), or (B, C, H, W) if channels come first.
        return_attention_scores: whether to return the pair `(y, weights)`.

    Returns:
        y, shaped like x, or the pair of it and the weights beta (B, H W, cells after pooling).
        Cells are in row-major order.

    Raises:
        ValueError: If an argument is not positive; when built, if `x` does not have four axes or
            has fewer channels than `reduction`.

    References:
        Zhang et al. 2019, [Self-Attention Generative Adversarial
        Networks](https://arxiv.org/abs/1805.08318).

    Example:

    >>> import numpy as np
    >>> y, weights = SelfAttention2D()(np.ones((2, 8, 6, 16)), return_attention_scores=True)
    >>> tuple(y.shape), tuple(weights.shape)
    ((2, 8, 6, 16), (2, 48, 12))
    """

    def __init__(
        self,
        reduction: int = 8,
        pool_size: int = 2,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(reduction, pool_size, data_format, **kwargs)

    def build(self, x_shape):
        super().build(x_shape)
        self.query_conv = self.convolution("query", self.channels, self.reduced_channels)  # g
        self.key_conv = self.convolution("key", self.channels, self.reduced_channels)  # f
        self.gamma = self.add_weight(shape=(), initializer="zeros", name="gamma")

    def compute_weights(self, x: Tensor) -> Tensor:
        query = flatten_cells(self.query_conv(x))  # (B, N, U)
        keys = flatten_cells(self.pool_cells(self.key_conv(x)))  # (B, M, U)
        return masked_softmax(wide_dot(query, keys))  # equation 1

    def scale_output(self, y: Tensor) -> Tensor:
        return ops.cast(self.gamma, y.dtype) * y  # equation 3


@keras.saving.register_keras_serializable(package="keras_attention")
class NonLocal2D(ImageAttention):
    """Non-local block in four forms (Wang et al. 2018, section 3).

        y_i = 1 / C(x) sum_j f(x_i, x_j) g(x_j)     (1)
        z_i = W_z y_i + x_i                         (6)

    | `form` | f(x_i, x_j) | C(x) | equation |
    | --- | --- | --- | --- |
    | `"gaussian"` | `exp(x_i . x_j)` | `sum_j f(x_i, x_j)` | 2 |
    | `"embedded_gaussian"` | `exp(theta(x_i) . phi(x_j))` | `sum_j f(x_i, x_j)` | 3 |
    | `"dot_product"` | `theta(x_i) . phi(x_j)` | number of j | 4 |
    | `"concatenation"` | `relu(w_f . [theta(x_i), phi(x_j)])` | number of j | 5 |

    theta, phi and g are 1x1 convolutions with C / reduction channels. W_z is initially 0, so the
    block starts as the identity (section 3.3).

    Args:
        form: `"gaussian"`, `"embedded_gaussian"`, `"dot_product"` or `"concatenation"`.
        reduction: C is divided by it; 2 is the paper's bottleneck.
        pool_size: side of the squares over which x_j (Gaussian) or phi, and g, are max-pooled, the
            paper's subsampling; 1 disables pooling.
        data_format: `"channels_last"` or `"channels_first"`; `None` takes Keras's setting.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        x: (B, H, W, C), or (B, C, H, W) if channels come first.
        return_attention_scores: whether to return the pair `(z, weights)`.

    Returns:
        z, shaped like x, or the pair of it and the weights `f(x_i, x_j) / C(x)` (B, H W, cells
        after pooling). Cells are in row-major order. The weights of the last two forms do not sum
        to 1.

    Raises:
        ValueError: If the form is unknown or an argument is not positive; when built, if `x` does
            not have four axes or has fewer channels than `reduction`.

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
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(reduction, pool_size, data_format, **kwargs)
        check_one_of("form", form, FORMS)
        self.form = form

    def build(self, x_shape):
        super().build(x_shape)
        if self.form != "gaussian":
            self.query_conv = self.convolution(
                "query", self.channels, self.reduced_channels
            )  # theta
            self.key_conv = self.convolution("key", self.channels, self.reduced_channels)  # phi
        if self.form == "concatenation":
            self.w_f = self.add_weight(
                shape=(2 * self.reduced_channels, 1), initializer="glorot_uniform", name="w_f"
            )

    def compute_weights(self, x: Tensor) -> Tensor:
        if self.form == "gaussian":
            query, keys = flatten_cells(x), flatten_cells(self.pool_cells(x))
            return masked_softmax(wide_dot(query, keys))  # equation 2
        query = flatten_cells(self.query_conv(x))  # (B, N, U)
        keys = flatten_cells(self.pool_cells(self.key_conv(x)))  # (B, M, U)
        if self.form == "embedded_gaussian":
            return masked_softmax(wide_dot(query, keys))  # equation 3
        if self.form == "dot_product":
            result = wide_dot(query, keys)  # equation 4
        else:
            w_f = at_least_float32(self.w_f)
            query_part = ops.matmul(at_least_float32(query), w_f[: self.reduced_channels])
            key_part = ops.matmul(at_least_float32(keys), w_f[self.reduced_channels :])
            result = scores.relu_concat(query_part, key_part)  # equation 5
        return result / ops.cast(ops.shape(result)[2], result.dtype)  # (B, N, M)

    def get_config(self) -> dict:
        return {**super().get_config(), "form": self.form}
