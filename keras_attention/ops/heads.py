"""Attention heads: splitting and merging them, and the key/value cache of self-attention.

The head axis precedes time, (B, H, T, D), so that a cache of keys is read without a transpose.
Their scores and contexts are `scores.scaled_dot` and `attention.context`, which also serve fewer
heads of keys and values than of queries.
"""

from typing import NamedTuple

from keras import ops

from keras_attention.ops import masks
from keras_attention.types import Mask, Tensor


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


class KVCache(NamedTuple):
    """Key/value cache of self-attention: keys and values of earlier positions.

    `MultiHeadSelfAttention.init_cache` creates one with L slots, for K beams. Index i of a sequence
    is written to slot i mod L, so a sequence longer than L replaces its oldest keys.

    Attributes:
        keys: (B, K, G, L, D).
        values: (B, K, G, L, D).
    """

    keys: Tensor
    values: Tensor


class CacheStep(NamedTuple):
    """Slot, positions and mask of one decoding step with a cache of L slots and K beams.

    Attributes:
        slot: int scalar, the slot to which the new position is written.
        positions: int (B * K, 1) or (1, 1), the position of the new tokens.
        key_positions: int (B * K, L) or (1, L), the positions in the cache.
        mask: bool (B * K, 1, L) or (1, 1, L), True for the slots in use, the new one included.
    """

    slot: Tensor
    positions: Tensor
    key_positions: Tensor
    mask: Mask = None


def slot_indices(index: Tensor, length: Tensor) -> Tensor:
    """Returns the index whose keys and values are in each slot of a cache.

    Args:
        index: int scalar, the last index written.
        length: L, an int or an int32 scalar tensor.

    Returns:
        int32 tensor (L,): index i is in slot i mod L. It is negative for slots not yet written.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(slot_indices(5, length=4)).tolist()
    [4, 5, 2, 3]
    >>> ops.convert_to_numpy(slot_indices(1, length=4)).tolist()
    [0, 1, -2, -1]
    """
    slots = ops.arange(length, dtype="int32")
    return index - ops.mod(index - slots, length)


def cache_step(index: Tensor, positions: Tensor, length: Tensor) -> CacheStep:
    """Returns the decoding step that writes an index of the sequences to a cache.

    Args:
        index: int scalar, the index of the new tokens, the same in every row.
        positions: int (B * K, 1) or (1, 1), the positions of the new tokens. They are less than
            `index` in rows with padding on the left, whose slots are masked.
        length: L, number of slots of the cache.

    Example:

    >>> from keras import ops
    >>> step = cache_step(5, ops.array([[5], [2]]), length=4)
    >>> int(step.slot), ops.convert_to_numpy(step.key_positions).tolist()
    (1, [[4, 5, 2, 3], [1, 2, -1, 0]])
    """
    positions = ops.convert_to_tensor(positions, "int32")
    key_positions = positions - (index - slot_indices(index, length))  # (B * K or 1, L)
    return CacheStep(
        slot=ops.mod(index, length),
        positions=positions,
        key_positions=key_positions,
        mask=masks.expand_key_mask(key_positions >= 0),
    )


def update_cache(cache: KVCache, new: KVCache, slot: Tensor) -> KVCache:
    """Writes the keys and values of one position to a cache.

    Args:
        cache: keys and values (B, K, G, L, D).
        new: keys and values of the position, (B, K, G, 1, D).
        slot: int scalar, the index between 0 and L - 1 to write to.

    Returns:
        The updated cache, in the dtype of `cache`.

    Example:

    >>> from keras import ops
    >>> empty, one = ops.zeros((1, 1, 1, 3, 1)), ops.ones((1, 1, 1, 1, 1))
    >>> cache = update_cache(KVCache(empty, empty), KVCache(one, one), slot=1)
    >>> ops.convert_to_numpy(cache.keys).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    start = (0, 0, 0, slot, 0)
    return KVCache(
        keys=ops.slice_update(cache.keys, start, ops.cast(new.keys, cache.keys.dtype)),
        values=ops.slice_update(cache.values, start, ops.cast(new.values, cache.values.dtype)),
    )


class CachedPast(NamedTuple):
    """Keys and values of earlier positions of one sequence, to which several positions are added.

    Attributes:
        cache: keys and values (B, G, L, D); slot i holds position i.
        start: int scalar, the slot of the first new position; `None` adds slots for all of them.
    """

    cache: KVCache
    start: Tensor | None


def append_to_cache(past: CachedPast, new: KVCache) -> KVCache:
    """Writes the keys and values of several positions to a cache.

    Args:
        past: the cache, and the slot of the first position.
        new: keys and values of T positions, (B, G, T, D). Those beyond the last slot are dropped.

    Returns:
        The updated cache, in the dtype of the old one; of L + T slots if slots are added.

    Example:

    >>> from keras import ops
    >>> empty, two = ops.zeros((1, 1, 4, 1)), ops.ones((1, 1, 2, 1))
    >>> cache = append_to_cache(CachedPast(KVCache(empty, empty), 3), KVCache(two, two))
    >>> ops.convert_to_numpy(cache.keys).ravel().tolist()
    [0.0, 0.0, 0.0, 1.0]
    """

    def write(old, x):
        if past.start is None:
            return ops.concatenate([old, ops.cast(x, old.dtype)], axis=2)
        # Backends move an update that would exceed the array, so there is room for all of it.
        length, extra = old.shape[2], x.shape[2] - 1
        padded = ops.pad(old, ((0, 0), (0, 0), (0, extra), (0, 0))) if extra else old
        updated = ops.slice_update(padded, (0, 0, past.start, 0), ops.cast(x, old.dtype))
        return updated[:, :, :length] if extra else updated

    return KVCache(*(write(*pair) for pair in zip(past.cache, new, strict=True)))
