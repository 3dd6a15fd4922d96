"""Masks: True is kept. They are made and joined here and nowhere else."""

from typing import Any

from keras import ops


def padding(ids: Any):
    """The mask of a batch of ids: what is not padding is kept.

    Args:
        ids: Integer tensor of any shape, padded with 0.

    Returns:
        Bool tensor of the same shape.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(padding(ops.array([[7, 4, 0]]))).tolist()
    [[True, True, False]]
    """
    return ops.not_equal(ids, 0)


def causal(queries: Any, keys: Any):
    """Each position sees itself and what stands before it.

    Args:
        queries: T, the number of queries; an int or an int32 scalar tensor.
        keys: S, the number of keys.

    Returns:
        Bool tensor (1, T, S), True where `s <= t`.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(causal(2, 3)).tolist()
    [[[True, False, False], [True, True, False]]]
    """
    t = ops.reshape(ops.arange(queries, dtype="int32"), (1, -1, 1))
    s = ops.reshape(ops.arange(keys, dtype="int32"), (1, 1, -1))
    return ops.less_equal(s, t)  # (1, T, S)


def combine(*masks: Any):
    """What every mask keeps; `None` keeps everything.

    Args:
        *masks: Masks of shapes that broadcast, bool or numbers, or `None`.

    Returns:
        Bool tensor, or `None` when every mask is `None`.

    Example:

    >>> from keras import ops
    >>> kept = combine(ops.array([True, True]), None, ops.array([False, True]))
    >>> ops.convert_to_numpy(kept).tolist()
    [False, True]
    """
    kept = None
    for mask in masks:
        if mask is not None:
            mask = ops.cast(mask, "bool")
            kept = mask if kept is None else ops.logical_and(kept, mask)
    return kept


def of_queries(mask: Any):
    """A mask of queries (B, T) as one of scores: (B, T, 1); `None` stays `None`."""
    return None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), -1)


def of_keys(mask: Any):
    """A mask of keys (B, S) as one of scores: (B, 1, S); `None` stays `None`."""
    return None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), -2)


def positions(mask: Any):
    """Counts what is kept, so that padding before a sequence does not move its positions.

    Args:
        mask: (B, S).

    Returns:
        int32 tensor (B, S): the place of each kept item among the kept ones, from 0.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(positions(ops.array([[False, True, True]]))).tolist()
    [[-1, 0, 1]]
    """
    return ops.cumsum(ops.cast(mask, "int32"), axis=-1) - 1


def window(places: Any, centers: Any, width: float):
    """The window `[center - width, center + width]` of local attention (Luong 2015, section 3.2).

    Args:
        places: Positions of the keys, (B, 1, S) or (1, 1, S).
        centers: Positions the queries look at, (B, T, 1) or (1, T, 1).
        width: D, how far a query sees to each side.

    Returns:
        Bool tensor (B, T, S).

    Example:

    >>> from keras import ops
    >>> seen = window(ops.array([[[0, 1, 2, 3]]]), ops.array([[[0.5]]]), width=1)
    >>> ops.convert_to_numpy(seen).tolist()
    [[[True, True, False, False]]]
    """
    distance = ops.cast(places, "float32") - ops.cast(centers, "float32")  # (B, T, S)
    return ops.less_equal(ops.absolute(distance), float(width))
