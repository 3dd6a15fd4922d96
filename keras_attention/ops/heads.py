"""Attention heads: splitting and merging them, and writing to a cache of keys and values.

The head axis precedes time, (B, H, T, D), so that a cache of keys is read without a transpose.
Their scores and contexts are `scores.scaled_dot` and `attention.context`, which also serve fewer
heads of keys and values than of queries.
"""

from keras import ops

from keras_attention.ops.attention import Memory
from keras_attention.types import Tensor


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Splits the last axis into heads.

    Args:
        x: (B, T, num_heads * D).
        num_heads: number of heads.

    Returns:
        (B, num_heads, T, D).

    Example:

    >>> import numpy as np
    >>> tuple(split_heads(np.ones((2, 3, 8)), num_heads=4).shape)
    (2, 4, 3, 2)
    """
    batch, length = ops.shape(x)[:2]
    x = ops.reshape(x, (batch, length, num_heads, x.shape[-1] // num_heads))
    return ops.transpose(x, (0, 2, 1, 3))


def merge_heads(x: Tensor) -> Tensor:
    """Concatenates the heads, `Concat(head_1, ..., head_h)`: (B, H, T, D) -> (B, T, H * D).

    Example:

    >>> import numpy as np
    >>> tuple(merge_heads(np.ones((2, 4, 3, 2))).shape)
    (2, 3, 8)
    """
    batch, heads, length, width = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, length, heads * width))


def extend(memory: Memory, new: Memory, slot: Tensor) -> Memory:
    """Returns a cache of keys and values with one more position written.

    Args:
        memory: keys and values (B, G, S, D), with a slot for each position that may be added; its
            mask and positions are those after the step.
        new: keys and values (B, G, 1, D) of the added position.
        slot: int scalar, the index to write to.

    Returns:
        The memory with keys and values at `slot` replaced.

    Example:

    >>> from keras import ops
    >>> empty, one = ops.zeros((1, 1, 3, 1)), ops.ones((1, 1, 1, 1))
    >>> memory = extend(Memory(empty, empty), Memory(one, one), slot=1)
    >>> ops.convert_to_numpy(memory.keys).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    start = (0, 0, slot, 0)
    return memory._replace(
        values=ops.slice_update(memory.values, start, ops.cast(new.values, memory.values.dtype)),
        keys=ops.slice_update(memory.keys, start, ops.cast(new.keys, memory.keys.dtype)),
    )
