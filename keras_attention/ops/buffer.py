"""Arrays that loops without gradients add to, block by block, in place where the backend can."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_attention.types import Tensor


class Buffer:
    """Shape and dtype of an array whose blocks a loop adds to.

    `repeat` of `ops/loop.py` carries the blocks. They are one tensor, but on TensorFlow a list of
    tensors, since TensorFlow's scatter operations copy the whole array to change one block.

    Args:
        shape: `(number of blocks, ...)`, with the shape of a block.
        dtype: dtype of the array.

    Example:

    >>> from keras_attention.ops.loop import repeat
    >>> buffer = Buffer((3, 2), "float32")
    >>> blocks, = repeat(
    ...     1, 3, lambda i, blocks: (buffer.add_at(blocks, i, ops.ones(2)),), (buffer.zeros(),)
    ... )
    >>> ops.convert_to_numpy(buffer.to_tensor(blocks)).tolist()
    [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, shape: Sequence, dtype: str):
        self.shape = tuple(shape)
        self.dtype = keras.backend.standardize_dtype(dtype)

    def zeros(self) -> Tensor:
        """Returns blocks of zeros, which only the other methods can read."""
        if keras.backend.backend() != "tensorflow":
            return ops.zeros(self.shape, self.dtype)
        import tensorflow as tf

        return tf.raw_ops.TensorListReserve(
            element_shape=self._block_shape(), num_elements=self.shape[0], element_dtype=self.dtype
        )

    def add_at(self, blocks: Tensor, index: Tensor, x: Tensor) -> Tensor:
        """Adds to one block.

        Args:
            blocks: from `zeros` or an earlier call.
            index: int scalar.
            x: in the shape and dtype of a block.

        Returns:
            The blocks with `x` added; do not use the old ones.
        """
        if keras.backend.backend() == "torch":
            blocks[index] += x
            return blocks
        if keras.backend.backend() == "jax":
            x = ops.take(blocks, index, axis=0) + x
            return ops.slice_update(blocks, (index, *(0 for _ in x.shape)), ops.expand_dims(x, 0))
        import tensorflow as tf

        block = tf.raw_ops.TensorListGetItem(
            input_handle=blocks,
            index=index,
            element_shape=self._block_shape(),
            element_dtype=self.dtype,
        )
        return tf.raw_ops.TensorListSetItem(input_handle=blocks, index=index, item=block + x)

    def to_tensor(self, blocks: Tensor) -> Tensor:
        """Returns the array of all blocks."""
        if keras.backend.backend() != "tensorflow":
            return blocks
        import tensorflow as tf

        array = tf.raw_ops.TensorListStack(
            input_handle=blocks, element_shape=self._block_shape(), element_dtype=self.dtype
        )
        return ops.reshape(array, self.shape)

    def _block_shape(self):
        return ops.convert_to_tensor(self.shape[1:], "int32")
