"""Attention heads: splitting and merging them.

The head axis precedes time, (B, H, T, D), so that keys are read without a transpose. Their scores
and contexts are `scores.scaled_dot` and `attention.context`, which also serve fewer heads of keys
and values than of queries.
"""

from keras import ops

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
