"""Dense layer for sequences, used by the attention layers."""

from typing import Any

import keras
from keras import ops

from keras_attention.ops.linear import project
from keras_attention.types import Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class Linear(keras.layers.Dense):
    """`keras.layers.Dense` for sequences, `f(x W + b)`, computed by `ops.linear.project`.

    Its gradient compiles with XLA inside a loop with a dynamic batch size, where that of `Dense`
    does not.

    Args:
        units: width of the output.
        input_dim: width of the input, with which the layer is built; `None` builds it when called.
        **kwargs: `activation`, `use_bias` and other arguments of `keras.layers.Dense`.

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

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        y = project(x, self.kernel)
        if self.use_bias:
            y = ops.add(y, self.bias)
        return y if self.activation is None else self.activation(y)

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        """Quantizes the weights as `Dense` does, without Keras's check for subclasses."""
        super().quantize(mode, type_check=False, config=config)
