"""The position-wise feed-forward network, plain and gated."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention.layers.linear import Linear
from keras_attention.utils.validation import check_positive

# Gated linear units and the activation of their gate (Shazeer 2020, equations 5 and 6).
GATED_UNITS = {
    "bilinear": "linear",
    "glu": "sigmoid",
    "reglu": "relu",
    "geglu": "gelu",
    "swiglu": "silu",
}


@keras.saving.register_keras_serializable(package="keras_attention")
class FeedForward(keras.layers.Layer):
    """Position-wise feed-forward network, plain or gated.

        FFN(x) = f(x W_1 + b_1) W_2 + b_2        plain, Vaswani et al. 2017, equation 2
        FFN(x) = (f(x W) * (x V)) W_2            gated, Shazeer 2020, equation 6

    A gated network has 50% more weights than a plain one of the same `intermediate_dim`.

    Args:
        intermediate_dim: Width of the hidden layer.
        activation: Activation function `f`, any that Keras knows (`"relu"`, `"gelu"`, `"silu"`), or
            the name of a gated linear unit: `"glu"`, `"bilinear"`, `"reglu"`, `"geglu"`,
            `"swiglu"`.
        dropout: Dropout rate applied to the hidden layer.
        use_bias: Whether both linear layers have a bias.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        x: Input, `(B, T, D)`.
        training: Whether to apply dropout.

    Returns:
        Output, `(B, T, D)`.

    Raises:
        ValueError: If `intermediate_dim` is not positive, or `activation` is unknown.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762). Shazeer
        2020, [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202).

    Example:

    >>> import numpy as np
    >>> tuple(FeedForward(32, activation="swiglu")(np.ones((2, 3, 8), "float32")).shape)
    (2, 3, 8)
    """

    def __init__(
        self,
        intermediate_dim: int,
        activation: str = "relu",
        dropout: float = 0.0,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive("intermediate_dim", intermediate_dim)
        self.intermediate_dim = intermediate_dim
        self.activation = activation
        self.is_gated = activation in GATED_UNITS
        self.activation_function = get_activation(GATED_UNITS.get(activation, activation))
        self.use_bias = use_bias
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, x_shape):
        width = x_shape[-1]
        # The two kernels of a gated unit, W and V, are one matrix.
        units = self.intermediate_dim * (2 if self.is_gated else 1)
        options = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.inner = Linear(units, width, name="inner", **options)
        self.outer = Linear(width, self.intermediate_dim, name="outer", **options)
        self.built = True

    def call(self, x: Any, training: bool | None = None):
        hidden = self.inner(x)  # (B, T, F), gated: (B, T, 2 F)
        if self.is_gated:
            gate, hidden = ops.split(hidden, 2, axis=-1)  # (B, T, F) each
            hidden = self.activation_function(gate) * hidden
        else:
            hidden = self.activation_function(hidden)
        return self.outer(self.dropout(hidden, training=training))  # (B, T, D)

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "activation": self.activation,
            "dropout": self.dropout.rate,
            "use_bias": self.use_bias,
        }


def get_activation(name: str) -> Callable:
    """Returns the Keras activation function of this name.

    Raises:
        ValueError: If Keras has no activation of this name.
    """
    try:
        return keras.activations.get(name)
    except ValueError as error:
        raise ValueError(
            f"`activation` must be one of {tuple(GATED_UNITS)} or the name of a Keras activation. "
            f"Received: activation={name!r}"
        ) from error
