"""Masks: True is kept. They are made and joined here and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from keras import ops

# Far below every score that a float32 model gives, and finite: no NaN in a row without keys.
MASK_VALUE = -1e9
_mask_value = ContextVar("lowest", default=MASK_VALUE)


def mask_value() -> float:
    """What stands for the score of what is masked, before the softmax."""
    return _mask_value.get()


@contextmanager
def mask_value_scope(value: float) -> Iterator[None]:
    """Another number for the graphs that are traced meanwhile, for an exit with fewer numbers.

    Args:
        value: of `mask_value()`; it has to be below all scores.

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


def padding_mask(ids: Any):
    """The mask of a batch of ids: what is not padding is kept.

    Args:
        ids: Integer tensor of any shape, padded with 0.

    Returns:
        Bool tensor of the same shape.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(padding_mask(ops.array([[7, 4, 0]]))).tolist()
    [[True, True, False]]
    """
    return ops.not_equal(ids, 0)


def causal_mask(queries: Any, keys: Any):
    """Each position sees itself and what stands before it.

    Args:
        queries: T, the number of queries; an int or an int32 scalar tensor.
        keys: S, the number of keys.

    Returns:
        Bool tensor (1, T, S), True where `s <= t`.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(causal_mask(2, 3)).tolist()
    [[[True, False, False], [True, True, False]]]
    """
    t = ops.reshape(ops.arange(queries, dtype="int32"), (1, -1, 1))
    s = ops.reshape(ops.arange(keys, dtype="int32"), (1, 1, -1))
    return ops.less_equal(s, t)  # (1, T, S)


def combine_masks(*masks: Any):
    """What every mask keeps; `None` keeps everything.

    Args:
        *masks: Masks of shapes that broadcast, bool or numbers, or `None`.

    Returns:
        Bool tensor, or `None` when every mask is `None`.

    Example:

    >>> from keras import ops
    >>> kept = combine_masks(ops.array([True, True]), None, ops.array([False, True]))
    >>> ops.convert_to_numpy(kept).tolist()
    [False, True]
    """
    kept = None
    for mask in masks:
        if mask is not None:
            mask = ops.cast(mask, "bool")
            kept = mask if kept is None else ops.logical_and(kept, mask)
    return kept


def expand_query_mask(mask: Any):
    """A mask of queries (B, T) as one of scores: (B, T, 1); `None` stays `None`."""
    return None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), -1)


def expand_key_mask(mask: Any):
    """A mask of keys (B, S) as one of scores: (B, 1, S); `None` stays `None`."""
    return None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), -2)


def expand_to_3d(mask: Any):
    """A mask (T, S) or (S,) as one of scores, (1, T, S) or (1, 1, S); others stay, and `None`."""
    while mask is not None and len(mask.shape) < 3:
        mask = ops.expand_dims(mask, 0)
    return mask


def positions_from_mask(mask: Any):
    """Counts what is kept, so that padding before a sequence does not move its positions.

    Args:
        mask: (B, S).

    Returns:
        int32 tensor (B, S): the place of each kept item among the kept ones, from 0. What is not
        kept has the place of what was kept last, or 0.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(positions_from_mask(ops.array([[False, True, True]]))).tolist()
    [[0, 0, 1]]
    """
    return ops.maximum(ops.cumsum(ops.cast(mask, "int32"), axis=-1) - 1, 0)


def window_mask(places: Any, centers: Any, width: float):
    """The window `[center - width, center + width]` of local attention (Luong 2015, section 3.2).

    Its centers are predicted and need not be whole; `sliding` is the window of a Transformer.

    Args:
        places: Positions of the keys, (B, 1, S) or (1, 1, S).
        centers: Positions the queries look at, (B, T, 1) or (1, T, 1).
        width: D, how far a query sees to each side.

    Returns:
        Bool tensor (B, T, S).

    Example:

    >>> from keras import ops
    >>> seen = window_mask(ops.array([[[0, 1, 2, 3]]]), ops.array([[[0.5]]]), width=1)
    >>> ops.convert_to_numpy(seen).tolist()
    [[[True, True, False, False]]]
    """
    distance = ops.cast(places, "float32") - ops.cast(centers, "float32")  # (B, T, S)
    return ops.less_equal(ops.absolute(distance), float(width))


def sliding_window_mask(query_positions: Any, key_positions: Any, width: int):
    """The sliding window of a Transformer (Longformer, Mistral): less than `width` away.

    Joined with a causal mask a query sees itself and the `width - 1` items before it. `window` is
    another: it is around centers that are not the query's position, and includes its border.

    Args:
        query_positions: (B, T) or (1, T), integers.
        key_positions: (B, S) or (1, S), integers.
        width: How far a query sees, itself included.

    Returns:
        Bool tensor (B or 1, T, S), True where `|query - key| < width`.

    Example:

    >>> from keras import ops
    >>> seen = sliding_window_mask(ops.array([[2]]), ops.array([[0, 1, 2, 3, 4]]), width=2)
    >>> ops.convert_to_numpy(seen).tolist()
    [[[False, True, True, True, False]]]
    """
    distance = ops.expand_dims(query_positions, 2) - ops.expand_dims(key_positions, 1)  # (B, T, S)
    return ops.less(ops.absolute(distance), width)


def segment_mask(query_segments: Any, key_segments: Any):
    """Several texts in one row: each sees itself alone.

    Args:
        query_segments: (B, T), the number of the text that each query belongs to.
        key_segments: (B, S), the same for the keys.

    Returns:
        Bool tensor (B, T, S), True where both belong to one text.

    Example:

    >>> from keras import ops
    >>> segments = ops.array([[1, 1, 2]])
    >>> ops.convert_to_numpy(segment_mask(segments, segments)).tolist()
    [[[True, True, False], [True, True, False], [False, False, True]]]
    """
    return ops.equal(ops.expand_dims(query_segments, 2), ops.expand_dims(key_segments, 1))


def segment_positions(segments: Any, mask: Any = None):
    """`positions` of packed texts: what is kept is counted within its own text.

    Args:
        segments: (B, T), the number of the text that each item belongs to.
        mask: (B, T), or `None`, which keeps everything.

    Returns:
        int32 tensor (B, T): the place of each kept item in its text, from 0. What is not kept has
        the place of what was kept last in its text, or 0.

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


def last_mask(mask: Any):
    """The last item that is kept, whichever side the padding is on.

    Args:
        mask: (B, S).

    Returns:
        Bool tensor (B, S), True once in a row, or nowhere if nothing is kept.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(last_mask(ops.array([[True, True, False]]))).tolist()
    [[False, True, False]]
    """
    mask = ops.cast(mask, "bool")
    place = positions_from_mask(mask)  # (B, S)
    return combine_masks(mask, ops.equal(place, place[:, -1:]))


def first_mask(mask: Any):
    """The first item that is kept, whichever side the padding is on.

    Args:
        mask: (B, S).

    Returns:
        Bool tensor (B, S), True once in a row, or nowhere if nothing is kept.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(first_mask(ops.array([[False, True, True]]))).tolist()
    [[False, True, False]]
    """
    mask = ops.cast(mask, "bool")
    return combine_masks(mask, ops.equal(positions_from_mask(mask), 0))
