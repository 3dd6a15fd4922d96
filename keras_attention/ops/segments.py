"""Numbers of the texts in packed rows, which `masks.segment_mask` keeps apart."""

from keras import ops

from keras_attention.ops.ids import END, START
from keras_attention.types import Tensor


def target_segments(ids: Tensor) -> Tensor:
    """Numbers the texts of each row, each of which begins with START.

    Args:
        ids: int (B, T).

    Returns:
        int32 (B, T), from 0; -1 before the first START.

    Example:

    >>> ops.convert_to_numpy(target_segments(ops.array([[1, 7, 1, 8, 9, 0]]))).tolist()
    [[0, 0, 1, 1, 1, 1]]
    """
    return ops.cumsum(ops.cast(ops.equal(ids, START), "int32"), axis=1) - 1


def source_segments(ids: Tensor) -> Tensor:
    """Numbers the texts of each row, each of which ends with END.

    Args:
        ids: int (B, S).

    Returns:
        int32 (B, S), from 0.

    Example:

    >>> ops.convert_to_numpy(source_segments(ops.array([[7, 2, 8, 9, 2, 0]]))).tolist()
    [[0, 0, 1, 1, 1, 2]]
    """
    ends = ops.cast(ops.equal(ids, END), "int32")
    return ops.cumsum(ends, axis=1) - ends
