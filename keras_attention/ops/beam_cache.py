"""Key/value cache of decoding with any number of beams.

In a decoding step, K beams attend to the keys of all beams in one product, and a mask leaves to
each beam the keys of its own sequence. Beam search therefore reorders the integers that say which
beam has written each key, and not the keys and values. This is the cache indirection of
[FasterTransformer](https://github.com/NVIDIA/FasterTransformer).

Most frameworks copy an array in order to write to it. A step therefore writes to a short array, the
`recent` keys, which are appended to the `past` ones after some steps.
"""

from typing import NamedTuple

import keras
from keras import ops

from keras_attention.ops import masks
from keras_attention.ops.attention import context
from keras_attention.ops.kv_cache import (
    BeamSlots,
    append_slots,
    count_rows,
    empty_slots_like,
    read_slots,
)
from keras_attention.ops.scores import scaled_dot
from keras_attention.types import Tensor


class BeamCache(NamedTuple):
    """Key/value cache of one layer for K beams; `MultiHeadSelfAttention.init_cache` creates it.

    Attributes:
        past: P slots, of which slot i holds index i of a sequence. Steps only read them.
        recent: L slots, index P + i is written to slot i mod L. A sequence longer than P + L
            replaces its oldest recent keys, as a layer with a window wants.
    """

    past: BeamSlots
    recent: BeamSlots


class CacheState(NamedTuple):
    """Caches of the blocks of a decoder, and the beams that have written them.

    Attributes:
        caches: a cache for each block.
        beams: int32 (B, K, N), the beam that has written index n of the sequence of each beam.
    """

    caches: list[BeamCache]
    beams: Tensor


class CacheStep(NamedTuple):
    """Slot, positions and mask of one decoding step, with S = P + L slots for each of K beams.

    Attributes:
        slot: int scalar, the recent slot to which the new position is written.
        positions: int (B or 1, 1), the position of the new tokens, the same for all beams.
        key_positions: int (B or 1, S * K), the positions in all slots.
        mask: bool (B or 1, K or 1, S * K), True for the slots in use that belong to the sequence of
            a beam, the new one included.
    """

    slot: Tensor
    positions: Tensor
    key_positions: Tensor
    mask: Tensor


def init_beams(batch: Tensor, num_beams: int, length: Tensor) -> Tensor:
    """Returns the `beams` of a `CacheState` in which each beam has written its own sequence.

    Args:
        batch: B.
        num_beams: K.
        length: N, an int or an int32 scalar tensor.

    Returns:
        int32 tensor (B, K, N).

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(init_beams(1, num_beams=2, length=3)).tolist()
    [[[0, 0, 0], [1, 1, 1]]]
    """
    beams = ops.reshape(ops.arange(num_beams, dtype="int32"), (1, num_beams, 1))
    return ops.broadcast_to(beams, (batch, num_beams, length))


def write_own_beam(beams: Tensor, index: Tensor) -> Tensor:
    """Records that each beam writes an index of its sequence itself.

    Args:
        beams: int32 (B, K, N).
        index: int scalar, between 0 and N - 1.

    Returns:
        The updated `beams`.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(write_own_beam(ops.zeros((1, 2, 3), "int32"), 1)).tolist()
    [[[0, 0, 0], [0, 1, 0]]]
    """
    if beams.shape[1] == 1:
        return beams
    batch, num_beams, _ = ops.shape(beams)
    return ops.slice_update(beams, (0, 0, index), init_beams(batch, num_beams, 1))


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


def cache_step(index: Tensor, positions: Tensor, beams: Tensor, cache: BeamCache) -> CacheStep:
    """Returns the decoding step that writes an index of the sequences to a cache.

    Args:
        index: int scalar, the index of the new tokens, the same in every row.
        positions: int (B or 1, 1), the positions of the new tokens. They are less than `index` in
            rows with padding on the left, whose slots are masked.
        beams: int32 (B, K, N), the beams that have written the sequences, this step included; N is
            at least S.
        cache: cache with S slots.

    Example:

    >>> from keras import ops
    >>> from keras_attention.ops.kv_cache import empty_slots
    >>> past, recent = (empty_slots((2, 1), num_rows, 1, 1) for num_rows in (3, 2))
    >>> cache = BeamCache(past, recent)
    >>> beams = init_beams(2, num_beams=1, length=5)
    >>> step = cache_step(3, ops.array([[3], [1]]), beams, cache)
    >>> int(step.slot), ops.convert_to_numpy(step.key_positions).tolist()
    (0, [[0, 1, 2, 3, -1], [-2, -1, 0, 1, -3]])
    """
    positions = ops.convert_to_tensor(positions, "int32")
    num_beams = beams.shape[1]
    num_past, num_recent = (count_rows(slots) // num_beams for slots in cache)
    recent = slot_indices(index - num_past, num_recent)  # (L,)
    indices = ops.concatenate(
        [ops.arange(num_past, dtype="int32"), ops.where(recent < 0, -1, num_past + recent)]
    )  # (S,)
    key_positions = positions - (index - indices)  # (B or 1, S)
    mask = masks.expand_key_mask(key_positions >= 0)  # (B or 1, 1, S)
    if num_beams > 1:
        writers = ops.take(beams, ops.maximum(indices, 0), axis=2)  # (B, K, S)
        is_own = ops.equal(ops.expand_dims(writers, 3), ops.arange(num_beams, dtype="int32"))
        mask = ops.logical_and(ops.expand_dims(mask, 3), is_own)  # (B, K, S, K)
        mask = ops.reshape(mask, (-1, num_beams, (num_past + num_recent) * num_beams))
        key_positions = ops.repeat(key_positions, num_beams, axis=1)
    return CacheStep(ops.mod(index - num_past, num_recent), positions, key_positions, mask)


def append_recent(cache: BeamCache, num_rows: Tensor) -> BeamCache:
    """Appends the recent slots of a cache to the past ones.

    Args:
        cache: cache all of whose recent slots are in use.
        num_rows: number of rows of the new recent slots, L * K; an int or an int32 scalar tensor.

    Returns:
        A cache with empty recent slots.

    Example:

    >>> from keras_attention.ops.kv_cache import empty_slots
    >>> past, recent = (empty_slots((2, 1), num_rows, 1, 1) for num_rows in (3, 2))
    >>> cache = append_recent(BeamCache(past, recent), num_rows=4)
    >>> tuple(cache.past.values.shape), tuple(cache.recent.values.shape)
    ((2, 1, 5, 1), (2, 1, 4, 1))
    """
    past, recent = cache
    return BeamCache(append_slots(past, recent), empty_slots_like(recent, num_rows))


def cached_scores(query: Tensor, cache: BeamCache) -> Tensor:
    """Computes the scaled dot product of the queries of K beams and all keys of a cache.

    Args:
        query: (B, H, K, D).
        cache: cache with S slots.

    Returns:
        Scores (B, H, K, S * K).

    Example:

    >>> from keras import ops
    >>> from keras_attention.ops.kv_cache import empty_slots
    >>> cache = BeamCache(*(empty_slots((1, 1), num_rows, 4, 5) for num_rows in (6, 2)))
    >>> tuple(cached_scores(ops.ones((1, 1, 2, 4)), cache).shape)
    (1, 1, 2, 8)
    """
    scores = [scaled_dot(query, read_slots(slots).keys) for slots in _parts(cache)]
    return scores[0] if len(scores) == 1 else ops.concatenate(scores, axis=-1)


def cached_context(weights: Tensor, cache: BeamCache) -> Tensor:
    """Computes the weighted sum of all values of a cache.

    Args:
        weights: (B, H, K, S * K).
        cache: cache with S slots.

    Returns:
        (B, H, K, D).

    Example:

    >>> from keras import ops
    >>> from keras_attention.ops.kv_cache import empty_slots
    >>> cache = BeamCache(*(empty_slots((1, 1), num_rows, 4, 5) for num_rows in (6, 2)))
    >>> tuple(cached_context(ops.ones((1, 1, 2, 8)), cache).shape)
    (1, 1, 2, 5)
    """
    parts = _parts(cache)
    if len(parts) == 1:
        return context(weights, read_slots(parts[0]).values)
    past, recent = (read_slots(slots).values for slots in parts)
    of_past, of_recent = _split(weights, *map(count_rows, cache))
    return context(of_past, past) + context(of_recent, recent)


def _parts(cache):
    """Returns past and recent slots, without those known to be empty while tracing."""
    counts = [(slots, count_rows(slots)) for slots in cache]
    return [slots for slots, rows in counts if not (isinstance(rows, int) and rows == 0)]


def _split(x, size, other_size):
    """Splits the last axis in two parts of these sizes."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # one operation, while TFLite's slices with `:` are slow

        return tf.split(x, [size, other_size], axis=-1)
    return x[..., :size], x[..., size:]
