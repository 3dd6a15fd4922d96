"""Keys and values of earlier positions, as they come and in slots for the beams of a search."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from keras import ops

from keras_attention.ops.growing_loop import grow_axis
from keras_attention.types import Tensor


class KVCache(NamedTuple):
    """Keys and values of the positions of a sequence.

    Attributes:
        keys: (B, G, L, D).
        values: (B, G, L, D).
    """

    keys: Tensor
    values: Tensor


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


_transposed_factors: ContextVar[bool] = ContextVar("transposed_factors", default=False)


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

    Example:

    >>> slots = empty_slots((1, 1), num_rows=3, key_dim=4, value_dim=5)
    >>> tuple(slots.keys.shape), tuple(slots.values.shape)
    ((1, 1, 4, 3), (1, 1, 3, 5))
    """
    keys, values = [key_dim, num_rows], [num_rows, value_dim]
    if _transposed_factors.get():
        keys, values = keys[::-1], values[::-1]
    return BeamSlots(ops.zeros((*shape, *keys), dtype), ops.zeros((*shape, *values), dtype))


def fill_slots(sequence: KVCache, num_beams: int) -> BeamSlots:
    """Returns slots in which each beam has the positions of the same sequence.

    Args:
        sequence: keys and values of L positions, (B, G, L, D).
        num_beams: K.

    Returns:
        L slots of K beams.

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
    """Returns the slots with empty ones added.

    Args:
        slots: slots, with fewer rows.
        num_rows: number of rows in all, L * K; an int or an int32 scalar tensor.

    Example:

    >>> count_rows(grow_slots(empty_slots((1, 1), 2, 4, 5), 6))
    6
    """
    key_axis, value_axis = _row_axes()
    return BeamSlots(
        grow_axis(slots.keys, key_axis, num_rows), grow_axis(slots.values, value_axis, num_rows)
    )


def read_slots(slots: BeamSlots) -> KVCache:
    """Returns the keys and the values of slots, (B, G, L * K, D) each.

    Example:

    >>> keys, values = read_slots(empty_slots((1, 1), num_rows=3, key_dim=4, value_dim=5))
    >>> tuple(keys.shape), tuple(values.shape)
    ((1, 1, 3, 4), (1, 1, 3, 5))
    """
    return KVCache(*_as_factors(slots))


def append_slots(slots: BeamSlots, others: BeamSlots) -> BeamSlots:
    """Returns the slots with others, of the same beams, appended to them.

    Example:

    >>> slots = [empty_slots((1, 1), num_rows, 4, 5) for num_rows in (3, 2)]
    >>> count_rows(append_slots(*slots))
    5
    """
    pairs = zip(slots, others, _row_axes(), strict=True)
    return BeamSlots(*(ops.concatenate(pair, axis=axis) for *pair, axis in pairs))


def empty_slots_like(slots: BeamSlots, num_rows: Tensor) -> BeamSlots:
    """Returns slots of zeros whose keys and values are of the sizes and the dtype of others.

    Args:
        slots: the others.
        num_rows: number of rows, L * K; an int or an int32 scalar tensor.

    Example:

    >>> count_rows(empty_slots_like(empty_slots((1, 1), 2, 4, 5), 6))
    6
    """
    batch, groups = ops.shape(slots.keys)[:2]
    # The axes of rows and of the size of a vector are 2 and 3, in this or the other order.
    key_dim, value_dim = (x.shape[5 - axis] for x, axis in zip(slots, _row_axes(), strict=True))
    return empty_slots((batch, groups), num_rows, key_dim, value_dim, slots.keys.dtype)


def count_rows(slots: BeamSlots) -> Tensor:
    """Returns the number of rows of slots, L * K, an int if it is known while tracing.

    Example:

    >>> count_rows(empty_slots((1, 1), num_rows=3, key_dim=4, value_dim=5))
    3
    """
    axis = _row_axes()[0]
    num_rows = slots.keys.shape[axis]
    return ops.shape(slots.keys)[axis] if num_rows is None else num_rows


def as_factor(values: Tensor) -> Tensor:
    """Returns values `(B, G, S, D)`, or inside `transposed_factors_scope` their transpose.

    Values that all steps read are stored so. The function is its own inverse.

    Example:

    >>> from keras import ops
    >>> values = ops.ones((1, 1, 3, 2))
    >>> with transposed_factors_scope():
    ...     tuple(as_factor(values).shape), tuple(as_factor(as_factor(values)).shape)
    ((1, 1, 2, 3), (1, 1, 3, 2))
    """
    return ops.transpose(values, (0, 1, 3, 2)) if _transposed_factors.get() else values


def _row_axes():
    """Returns the axes of the rows in the keys and in the values of `BeamSlots`."""
    return (2, 3) if _transposed_factors.get() else (3, 2)


def _as_factors(pair):
    """Converts keys and values (B, G, L, D) to the axes of `BeamSlots`, or back."""
    keys, values = pair
    if not _transposed_factors.get():
        keys = ops.transpose(keys, (0, 1, 3, 2))
    return keys, as_factor(values)
