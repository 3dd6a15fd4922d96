"""Buffers that loops write to block by block.

A buffer describes an array; the loop carries its blocks, one tensor that only the buffer's methods
read. On TensorFlow an `ArrayBuffer` copies all blocks to change one, unlike XLA. A `ListBuffer` is
a list of TensorFlow's tensors, which TFLite does not convert at a dynamic batch size.
"""

from collections.abc import Sequence

import keras
from keras import ops

from keras_attention.types import Tensor


class ArrayBuffer:
    """Buffer that is an array.

    Args:
        shape: `(number of blocks, ...)`, with the shape of a block.
        dtype: dtype of the array.
    """

    def __init__(self, shape: Sequence, dtype: str):
        self.shape = tuple(shape)
        self.dtype = keras.backend.standardize_dtype(dtype)

    def zeros(self) -> Tensor:
        """Returns blocks of zeros."""
        return ops.zeros(self.shape, self.dtype)

    def of(self, array: Tensor) -> Tensor:
        """Returns the blocks of an array of this shape."""
        return array

    def to_tensor(self, blocks: Tensor) -> Tensor:
        """Returns the array of the blocks."""
        return blocks

    def get_at(self, blocks: Tensor, index: Tensor) -> Tensor:
        """Returns the block at `index`, an int scalar."""
        return ops.take(blocks, index, axis=0)

    def set_at(self, blocks: Tensor, index: Tensor, x: Tensor) -> Tensor:
        """Returns the blocks with `x`, in the shape of a block, in place of the one at `index`."""
        updated = ops.scatter_update(blocks, ops.reshape(index, (1, 1)), ops.expand_dims(x, 0))
        return ops.reshape(updated, self.shape)  # TensorFlow's loops must not change static shapes

    def add_at(self, blocks: Tensor, index: Tensor, x: Tensor) -> Tensor:
        """Returns the blocks with `x` added to the one at `index`; do not use the old ones."""
        if keras.backend.backend() == "torch":
            blocks[index] += x
            return blocks
        return self.set_at(blocks, index, self.get_at(blocks, index) + x)


class ListBuffer(ArrayBuffer):
    """Buffer that is a list of tensors of TensorFlow; see `ArrayBuffer`."""

    def zeros(self) -> Tensor:
        import tensorflow as tf

        return tf.raw_ops.TensorListReserve(
            element_shape=self._block_shape(), num_elements=self.shape[0], element_dtype=self.dtype
        )

    def of(self, array: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.raw_ops.TensorListFromTensor(tensor=array, element_shape=self._block_shape())

    def to_tensor(self, blocks: Tensor) -> Tensor:
        import tensorflow as tf

        array = tf.raw_ops.TensorListStack(
            input_handle=blocks, element_shape=self._block_shape(), element_dtype=self.dtype
        )
        return ops.reshape(array, self.shape)

    def get_at(self, blocks: Tensor, index: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.raw_ops.TensorListGetItem(
            input_handle=blocks,
            index=index,
            element_shape=self._block_shape(),
            element_dtype=self.dtype,
        )

    def set_at(self, blocks: Tensor, index: Tensor, x: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.raw_ops.TensorListSetItem(input_handle=blocks, index=index, item=x)

    def _block_shape(self):
        return ops.convert_to_tensor(self.shape[1:], "int32")


def make_buffer(shape: Sequence, dtype: str) -> ArrayBuffer:
    """Returns the buffer that is fast on the backend, for loops that TFLite does not convert.

    Args:
        shape: `(number of blocks, ...)`, with the shape of a block.
        dtype: dtype of the array.

    Example:

    >>> from keras_attention.ops.loop import repeat
    >>> buffer = make_buffer((3, 2), "float32")
    >>> add_one = lambda i, blocks: (buffer.add_at(blocks, i, ops.ones(2)),)
    >>> blocks, = repeat(1, 3, add_one, (buffer.zeros(),))
    >>> ops.convert_to_numpy(buffer.to_tensor(blocks)).tolist()
    [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    """
    if keras.backend.backend() == "tensorflow":
        return ListBuffer(shape, dtype)
    return ArrayBuffer(shape, dtype)
