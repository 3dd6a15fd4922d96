"""Blocks of a buffer against sums in NumPy, in graphs of unknown sizes and under XLA too."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.ops.buffer import make_buffer
from keras_attention.ops.loop import repeat

X = np.arange(12, dtype="float32").reshape(3, 2, 2)  # blocks, rows, width


def add_twice(x):
    """Returns blocks of 0, x_0 + x_1 and x_0 + x_2, added one by one."""
    x = ops.convert_to_tensor(x)
    buffer = make_buffer(ops.shape(x), x.dtype)

    def add_row(i, blocks):
        return repeat(1, 3, lambda j, blocks: (buffer.add_at(blocks, j, x[i * j]),), (blocks,))

    (blocks,) = repeat(0, 2, add_row, (buffer.zeros(),))
    return buffer.to_tensor(blocks)


EXPECTED = np.stack([np.zeros((2, 2)), X[0] + X[1], X[0] + X[2]])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
def test_blocks_are_added_in_nested_loops(dtype):
    result = add_twice(ops.cast(X, dtype))
    assert keras.backend.standardize_dtype(result.dtype) == dtype
    np.testing.assert_array_equal(array(ops.cast(result, "float32")), EXPECTED)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("jit_compile, shape", [(False, (None, None, 2)), (True, (3, 2, 2))])
def test_blocks_in_a_graph(jit_compile, shape):
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, "float32")]
    function = tf.function(add_twice, input_signature=signature, jit_compile=jit_compile)
    np.testing.assert_array_equal(function(X), EXPECTED)
