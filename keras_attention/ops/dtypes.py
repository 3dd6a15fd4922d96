"""Precision of intermediate results."""

import keras
from keras import ops

from keras_attention.types import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Casts a tensor to float32; on TensorFlow float64 stays float64, as in Keras.

    float16 ends at 65,504 and bfloat16 has 8 significant bits, so scores, positions and lengths are
    computed in the result's dtype and cast back.

    Args:
        x: tensor of any dtype.

    Returns:
        Tensor of the same shape.

    Example:

    >>> from keras import ops
    >>> keras.backend.standardize_dtype(at_least_float32(ops.ones(1, "float16")).dtype)
    'float32'
    """
    x = ops.convert_to_tensor(x)
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
