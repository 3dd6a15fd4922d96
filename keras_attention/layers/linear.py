"""The linear layer that the others are made of."""

from typing import Any

import keras
from keras import ops

from keras_attention.ops.linear import project


@keras.saving.register_keras_serializable(package="keras_attention")
class Linear(keras.layers.Dense):
    """`f(x W + b)` at every position: `keras.layers.Dense`, by `ops.linear.project`.

    Args:
        units: width of the output.
        input_dim: width of the input; the layer is built with it. `None` builds it when called.
        **kwargs: `activation`, `use_bias`, `name`, `dtype` and so on, as `Dense` has them.

    Call arguments:
        x: (B, T, input_dim).

    Returns:
        (B, T, units).

    Example:

    >>> import numpy as np
    >>> tuple(Linear(8, 4)(np.ones((2, 3, 4), "float32")).shape)
    (2, 3, 8)
    """

    def __init__(self, units: int, input_dim: int | None = None, **kwargs: Any):
        super().__init__(units, **kwargs)
        self.supports_masking = True
        if input_dim is not None:
            self.build((None, None, input_dim))

    def call(self, x: Any, training: bool | None = None):
        y = project(x, self.kernel)
        if self.use_bias:
            y = ops.add(y, self.bias)
        return y if self.activation is None else self.activation(y)

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None):
        """As `Dense` does it: Keras would have every subclass write its own."""
        super().quantize(mode, type_check=False, config=config)
