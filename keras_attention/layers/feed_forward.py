"""The position-wise feed-forward network, plain and gated."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.linear import Linear
from keras_attention.layers.validation import check_positive

# Shazeer 2020, equations 5 and 6: what the gate of each linear unit goes through.
GATED = {
    "bilinear": "linear",
    "glu": "sigmoid",
    "reglu": "relu",
    "geglu": "gelu",
    "swiglu": "silu",
}


@keras.saving.register_keras_serializable(package="keras_attention")
class FeedForward(keras.layers.Layer):
    """`FFN(x) = f(x W_1 + b_1) W_2 + b_2` (Vaswani et al. 2017, equation 2).

    The gated ones are `(f(x W) * (x V)) W_2` (Shazeer 2020, https://arxiv.org/abs/2002.05202); they
    have a third more weights at the same `intermediate_dim`.

    Args:
        intermediate_dim: width between the two layers.
        activation: `f`, as Keras names it ("relu", "gelu", "silu"), or a gated unit: "glu",
            "bilinear", "reglu", "geglu", "swiglu".
        dropout: rate between the two layers.
        use_bias: whether both layers have a bias.
        **kwargs: `name`, `dtype` and so on.

    Raises:
        ValueError: if `intermediate_dim` is below 1, or the activation is unknown.

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
        self.gated = activation in GATED
        self.function = activation_named(GATED.get(activation, activation))
        self.use_bias = use_bias
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, x_shape):
        width = x_shape[-1]
        # both halves of a gated unit in one product
        units = self.intermediate_dim * (2 if self.gated else 1)
        same = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.inner = Linear(units, width, name="inner", **same)
        self.outer = Linear(width, self.intermediate_dim, name="outer", **same)
        self.built = True

    def call(self, x, training=None):
        hidden = self.inner(x)  # (B, T, F), or (B, T, 2 F)
        if self.gated:
            gate, hidden = ops.split(hidden, 2, axis=-1)
            hidden = self.function(gate) * hidden
        else:
            hidden = self.function(hidden)
        return self.outer(self.dropout(hidden, training=training))

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


def activation_named(name: str):
    """An activation of Keras.

    Raises:
        ValueError: if Keras has none of this name.
    """
    try:
        return keras.activations.get(name)
    except ValueError as error:
        raise ValueError(
            f"activation: expected one of {tuple(GATED)} or a name that Keras knows. "
            f"Received: activation={name!r}"
        ) from error
