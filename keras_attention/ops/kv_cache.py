"""Key/value caches of self-attention, for decoding with any number of beams.

In a decoding step, K beams attend to the keys of all beams in one product, and a mask leaves to
each beam the keys of its own sequence. Beam search therefore reorders the integers that say which
beam has written each key, and not the keys and values (the cache indirection of FasterTransformer).

Most frameworks copy an array in order to write to it. A step therefore writes to a short array, the
`recent` keys, which are appended to the `past` ones after some steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from keras import ops

from keras_attention.ops import masks
from keras_attention.ops.loop import grow_axis
from keras_attention.types import Tensor


class KVCache(NamedTuple):
    """Keys and values of the positions of a sequence.

    Attributes:
        keys: (B, G, L, D).
        values: (B, G, L, D).
    """

    keys: Tensor
    values: Tensor


class BeamSlots(NamedTuple):
    """L slots of a cache for each of K beams; row `l * K + k` is slot l of beam k.

    Keys and values are the second factors of the products of attention, `query keys` and `weights
    values`, as TensorFlow reads them fastest: a column of the keys and a row of the values belong
    to each row. Inside `transposed_factors_scope` both are transposed.

    Attributes:
        keys: (B, G, D, L * K).
        values: (B, G, L * K, D).
    """

    keys: Tensor
    values: Tensor


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


_transposed_factors: ContextVar[bool] = ContextVar("transposed_factors", default=False)


@contextmanager
def transposed_factors_scope() -> Iterator[None]:
    """Transposes the keys and values of `BeamSlots` in graphs traced inside the scope.

    XNNPACK, and so TFLite, rearranges the second factor of each product, and does so with vector
    instructions only if it reads the factor transposed.

    Example:

    >>> with transposed_factors_scope():
    ...     slots = empty_slots((1, 1), num_rows=3, key_dim=4, value_dim=5)
    >>> tuple(slots.keys.shape), tuple(slots.values.shape)
    ((1, 1, 3, 4), (1, 1, 5, 3))
    """
    token = _transposed_factors.set(True)
    try:
        yield
    finally:
        _transposed_factors.reset(token)


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


def empty_slots(
    shape: tuple, num_rows: Tensor, key_dim: int, value_dim: int, dtype: str | None = None
) -> BeamSlots:
    """Returns slots of zeros.

    Args:
        shape: B and G.
        num_rows: L * K, an int or an int32 scalar tensor.
        key_dim: size of a key.
        value_dim: size of a value.
        dtype: dtype, `keras.config.floatx()` by default.
    """
    keys, values = [key_dim, num_rows], [num_rows, value_dim]
    if _transposed_factors.get():
        keys, values = keys[::-1], values[::-1]
    return BeamSlots(ops.zeros((*shape, *keys), dtype), ops.zeros((*shape, *values), dtype))


def fill_slots(sequence: KVCache, num_beams: int) -> BeamSlots:
    """Returns slots in which each beam has the positions of the same sequence.

    Example:

    >>> from keras import ops
    >>> slots = fill_slots(KVCache(ops.ones((1, 1, 3, 4)), ops.ones((1, 1, 3, 5))), num_beams=2)
    >>> tuple(slots.keys.shape), tuple(slots.values.shape)
    ((1, 1, 4, 6), (1, 1, 6, 5))
    """
    key_axis, value_axis = _row_axes()
    keys, values = _as_factors(sequence)
    return BeamSlots(
        ops.repeat(keys, num_beams, axis=key_axis), ops.repeat(values, num_beams, axis=value_axis)
    )


def write_slot(slots: BeamSlots, new: KVCache, slot: Tensor) -> BeamSlots:
    """Writes the keys and values of one position of each beam.

    Args:
        slots: L slots of K beams.
        new: keys and values of the position, (B, G, K, D).
        slot: int scalar, the index between 0 and L - 1 to write to.

    Returns:
        The updated slots, in their old dtype.

    Example:

    >>> from keras import ops
    >>> one = ops.ones((1, 1, 1, 1))
    >>> slots = write_slot(empty_slots((1, 1), 3, 1, 1), KVCache(one, one), slot=1)
    >>> ops.convert_to_numpy(slots.keys).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    row = slot * ops.shape(new.keys)[2]

    def write(old, x, axis):
        start = [0, 0, 0, 0]
        start[axis] = row
        return ops.slice_update(old, start, ops.cast(x, old.dtype))

    return BeamSlots(*map(write, slots, _as_factors(new), _row_axes()))


def grow_slots(slots: BeamSlots, num_rows: Tensor) -> BeamSlots:
    """Returns the slots with empty ones added, `num_rows` rows in all."""
    key_axis, value_axis = _row_axes()
    return BeamSlots(
        grow_axis(slots.keys, key_axis, num_rows), grow_axis(slots.values, value_axis, num_rows)
    )


def read_slots(slots: BeamSlots) -> KVCache:
    """Returns the keys and the values of slots, (B, G, L * K, D) each."""
    return KVCache(*_as_factors(slots))


def append_recent(cache: BeamCache, num_rows: Tensor) -> BeamCache:
    """Appends the recent slots of a cache to the past ones.

    Args:
        cache: cache all of whose recent slots are in use.
        num_rows: number of rows of the new recent slots, L * K; an int or an int32 scalar tensor.

    Returns:
        A cache with empty recent slots.

    Example:

    >>> past, recent = (empty_slots((2, 1), num_rows, 1, 1) for num_rows in (3, 2))
    >>> cache = append_recent(BeamCache(past, recent), num_rows=4)
    >>> count_rows(cache.past), count_rows(cache.recent)
    (5, 4)
    """
    past, recent = cache
    key_axis, value_axis = _row_axes()
    batch, groups = ops.shape(recent.keys)[:2]
    key_dim, value_dim = recent.keys.shape[5 - key_axis], recent.values.shape[5 - value_axis]
    return BeamCache(
        past=BeamSlots(
            ops.concatenate([past.keys, recent.keys], axis=key_axis),
            ops.concatenate([past.values, recent.values], axis=value_axis),
        ),
        recent=empty_slots((batch, groups), num_rows, key_dim, value_dim, recent.keys.dtype),
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


def count_rows(slots: BeamSlots) -> Tensor:
    """Returns the number of rows of slots, L * K, an int if it is known while tracing."""
    axis = _row_axes()[0]
    num_rows = slots.keys.shape[axis]
    return ops.shape(slots.keys)[axis] if num_rows is None else num_rows


def _row_axes():
    """Returns the axes of the rows in the keys and in the values of `BeamSlots`."""
    return (2, 3) if _transposed_factors.get() else (3, 2)


def _as_factors(pair):
    """Converts keys and values (B, G, L, D) to the axes of `BeamSlots`, or back."""
    keys, values = pair
    if _transposed_factors.get():
        return keys, ops.transpose(values, (0, 1, 3, 2))
    return ops.transpose(keys, (0, 1, 3, 2)), values
