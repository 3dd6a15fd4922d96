"""Attention masks; True means attend. All masks are created and combined here."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from keras import ops

from keras_attention.ops.dtypes import at_least_float32
from keras_attention.types import Mask, Tensor

# Far below any score of a float32 model, and finite, so that a fully masked row gives no NaN.
MASK_VALUE = -1e9
_mask_value = ContextVar("mask_value", default=MASK_VALUE)


def mask_value() -> float:
    """Returns the score assigned to masked positions before the softmax."""
    return _mask_value.get()


@contextmanager
def mask_value_scope(value: float) -> Iterator[None]:
    """Changes `mask_value()` for graphs traced inside the scope.

    An export to int8 needs a value whose magnitude is close to that of the scores.

    Args:
        value: score of masked positions; it must be below all other scores.

    Example:

    >>> with mask_value_scope(-30.0):
    ...     mask_value()
    -30.0
    """
    token = _mask_value.set(value)
    try:
        yield
    finally:
        _mask_value.reset(token)


def padding_mask(ids: Tensor) -> Tensor:
    """Returns the mask of a batch of ids, False at padding.

    Args:
        ids: integer tensor of any shape, padded with 0.

    Returns:
        Bool tensor of the same shape.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(padding_mask(ops.array([[7, 4, 0]]))).tolist()
    [[True, True, False]]
    """
    return ops.not_equal(ids, 0)


def causal_mask(num_queries: Tensor, num_keys: Tensor) -> Tensor:
    """Returns the causal mask: each position attends to itself and to earlier positions.

    Args:
        num_queries: T, an int or an int32 scalar tensor.
        num_keys: S, an int or an int32 scalar tensor.

    Returns:
        Bool tensor (1, T, S), True where `s <= t`.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(causal_mask(2, 3)).tolist()
    [[[True, False, False], [True, True, False]]]
    """
    t = ops.reshape(ops.arange(num_queries, dtype="int32"), (1, -1, 1))
    s = ops.reshape(ops.arange(num_keys, dtype="int32"), (1, 1, -1))
    return ops.less_equal(s, t)  # (1, T, S)


def combine_masks(*masks: Mask) -> Mask:
    """Returns the logical AND of masks.

    Args:
        *masks: masks whose shapes broadcast, bool or numeric; `None` masks nothing.

    Returns:
        Bool tensor, or `None` if every mask is `None`.

    Example:

    >>> from keras import ops
    >>> mask = combine_masks(ops.array([True, True]), None, ops.array([False, True]))
    >>> ops.convert_to_numpy(mask).tolist()
    [False, True]
    """
    combined = None
    for mask in masks:
        if mask is not None:
            mask = ops.cast(mask, "bool")
            combined = mask if combined is None else ops.logical_and(combined, mask)
    return combined


def expand_query_mask(mask: Mask) -> Mask:
    """Expands a mask of queries to the axes of the scores, (B, T) -> (B, T, 1)."""
    return None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), -1)


def expand_key_mask(mask: Mask) -> Mask:
    """Expands a mask of keys to the axes of the scores, (B, S) -> (B, 1, S)."""
    return None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), -2)


def expand_to_3d(mask: Mask) -> Mask:
    """Adds leading axes to a mask until it has three, (T, S) -> (1, T, S)."""
    while mask is not None and len(mask.shape) < 3:
        mask = ops.expand_dims(mask, 0)
    return mask


def positions_from_mask(mask: Tensor) -> Tensor:
    """Returns positions counted over unmasked items, so that left padding does not shift them.

    Args:
        mask: (B, S).

    Returns:
        int32 tensor (B, S), from 0. A masked item has the position of the last unmasked item
        before it, or 0.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(positions_from_mask(ops.array([[False, True, True]]))).tolist()
    [[0, 0, 1]]
    """
    return ops.maximum(ops.cumsum(ops.cast(mask, "int32"), axis=-1) - 1, 0)


def window_mask(key_positions: Tensor, centers: Tensor, width: float) -> Tensor:
    """Returns the window of local attention, `[center - width, center + width]`.

    Luong et al. 2015, section 3.2. The centers are predicted and need not be integers;
    `sliding_window_mask` is the window of a Transformer.

    Args:
        key_positions: (B, 1, S) or (1, 1, S).
        centers: centers of the windows, (B, T, 1) or (1, T, 1).
        width: D, the reach of the window on either side.

    Returns:
        Bool tensor (B, T, S).

    Example:

    >>> from keras import ops
    >>> mask = window_mask(ops.array([[[0, 1, 2, 3]]]), ops.array([[[0.5]]]), width=1)
    >>> ops.convert_to_numpy(mask).tolist()
    [[[True, True, False, False]]]
    """
    centers = at_least_float32(centers)
    distance = ops.cast(key_positions, centers.dtype) - centers  # (B, T, S)
    return ops.less_equal(ops.absolute(distance), float(width))


def sliding_window_mask(query_positions: Tensor, key_positions: Tensor, width: int) -> Tensor:
    """Returns the sliding window of a Transformer: keys less than `width` positions away.

    Longformer (Beltagy et al. 2020), Mistral. Combined with a causal mask, a query attends to
    itself and the `width - 1` positions before it. `window_mask` is different: its centers are not
    the positions of the queries, and its border is part of the window.

    Args:
        query_positions: int (B, T) or (1, T).
        key_positions: int (B, S) or (1, S).
        width: reach of a query, itself included.

    Returns:
        Bool tensor (B or 1, T, S), True where `|query - key| < width`.

    Example:

    >>> from keras import ops
    >>> mask = sliding_window_mask(ops.array([[2]]), ops.array([[0, 1, 2, 3, 4]]), width=2)
    >>> ops.convert_to_numpy(mask).tolist()
    [[[False, True, True, True, False]]]
    """
    distance = ops.expand_dims(query_positions, 2) - ops.expand_dims(key_positions, 1)  # (B, T, S)
    return ops.less(ops.absolute(distance), width)


def segment_mask(query_segments: Tensor, key_segments: Tensor) -> Tensor:
    """Returns the mask of packed sequences: each segment of a row attends to itself only.

    Args:
        query_segments: int (B, T), the segment number of each query.
        key_segments: int (B, S), the segment number of each key.

    Returns:
        Bool tensor (B, T, S), True where query and key belong to the same segment.

    Example:

    >>> from keras import ops
    >>> segments = ops.array([[1, 1, 2]])
    >>> ops.convert_to_numpy(segment_mask(segments, segments)).tolist()
    [[[True, True, False], [True, True, False], [False, False, True]]]
    """
    return ops.equal(ops.expand_dims(query_segments, 2), ops.expand_dims(key_segments, 1))


def segment_positions(segments: Tensor, mask: Mask = None) -> Tensor:
    """Returns `positions_from_mask` for packed sequences, counted within each segment.

    Args:
        segments: int (B, T), the segment number of each item.
        mask: bool (B, T).

    Returns:
        int32 tensor (B, T), from 0 in each segment. A masked item has the position of the last
        unmasked item before it in its segment, or 0.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(segment_positions(ops.array([[1, 1, 1, 2, 2]]))).tolist()
    [[0, 1, 2, 0, 1]]
    """
    length = ops.shape(segments)[1]
    counted = combine_masks(
        segment_mask(segments, segments), causal_mask(length, length), expand_key_mask(mask)
    )
    return ops.maximum(ops.sum(ops.cast(counted, "int32"), axis=-1) - 1, 0)  # (B, T)


def first_mask(mask: Tensor) -> Tensor:
    """Returns a mask of the first unmasked item of each row, for padding on either side.

    Args:
        mask: (B, S).

    Returns:
        Bool tensor (B, S), True once per row, or nowhere in a fully masked row.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(first_mask(ops.array([[False, True, True]]))).tolist()
    [[False, True, False]]
    """
    mask = ops.cast(mask, "bool")
    return combine_masks(mask, ops.equal(positions_from_mask(mask), 0))
