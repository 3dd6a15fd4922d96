import keras
import pytest
from keras import ops

from keras_attention.ops.dtypes import at_least_float32


@pytest.mark.parametrize(
    "dtype, expected",
    [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("int32", "float32")],
)
def test_half_precision_and_integers_become_float32(dtype, expected):
    x = at_least_float32(ops.cast(ops.arange(3), dtype))
    assert keras.backend.standardize_dtype(x.dtype) == expected


@pytest.mark.tensorflow_only  # on the other backends Keras's operations return float32
def test_float64_stays():
    assert keras.backend.standardize_dtype(at_least_float32(ops.ones(2, "float64")).dtype) == (
        "float64"
    )
