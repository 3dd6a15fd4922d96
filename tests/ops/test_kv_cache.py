"""Key/value caches: writing, growing, and the steps that read them."""

from contextlib import nullcontext

import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.ops.kv_cache import (
    BeamCache,
    CachedPast,
    KVCache,
    append_recent,
    append_to_cache,
    cache_step,
    count_rows,
    empty_slots,
    fill_slots,
    grow_slots,
    init_beams,
    read_slots,
    slot_indices,
    transposed_factors_scope,
    write_own_beam,
    write_slot,
)

B, H, T, S, D = 2, 4, 3, 5, 6


def empty_cache(batch, num_beams, num_past, num_recent):
    """Returns a cache with these numbers of slots."""
    return BeamCache(
        *(empty_slots((batch, 1), n * num_beams, 1, 1) for n in (num_past, num_recent))
    )


@pytest.fixture(params=[False, True], ids=["plain", "transposed"])
def factors(request):
    """Both forms of the keys and values in slots."""
    with transposed_factors_scope() if request.param else nullcontext():
        yield


def slots_of(keys, values):
    """Returns the slots of one beam with these keys and values, (B, H, L, D)."""
    return fill_slots(KVCache(*map(ops.convert_to_tensor, (keys, values))), 1)


def test_slots_are_the_second_factors_of_products():
    keys, values = normal(B, H, S, D), normal(B, H, S, 3, seed=1)
    slots = slots_of(keys, values)
    np.testing.assert_array_equal(array(slots.keys), keys.swapaxes(2, 3))
    np.testing.assert_array_equal(array(slots.values), values)
    with transposed_factors_scope():
        slots = slots_of(keys, values)
    np.testing.assert_array_equal(array(slots.keys), keys)
    np.testing.assert_array_equal(array(slots.values), values.swapaxes(2, 3))


@pytest.mark.usefixtures("factors")
@pytest.mark.parametrize("slot", [0, 4])
def test_write_slot_writes_one_slot_of_two_beams(slot):
    old = KVCache(normal(B, H, S * 2, D), normal(B, H, S * 2, 3, seed=1))
    new = KVCache(normal(B, H, 2, D, seed=2), normal(B, H, 2, 3, seed=3))
    slots = write_slot(slots_of(*old), new, ops.convert_to_tensor(slot, "int32"))
    assert count_rows(slots) == S * 2
    for output, before, written in zip(read_slots(slots), old, new, strict=True):
        expected = before.copy()
        expected[:, :, 2 * slot : 2 * slot + 2] = written
        np.testing.assert_array_equal(array(output), expected)


def test_write_slot_casts_to_the_dtype_of_the_slots():
    new = KVCache(*[ops.ones((1, 1, 1, 1), "float32")] * 2)
    updated = write_slot(empty_slots((1, 1), 2, 1, 1, "bfloat16"), new, 0)
    assert "bfloat16" in str(updated.values.dtype) and "bfloat16" in str(updated.keys.dtype)


@pytest.mark.usefixtures("factors")
def test_slots_of_all_beams_begin_with_the_same_sequence():
    sequence = KVCache(normal(B, H, T, D), normal(B, H, T, 3, seed=1))
    slots = read_slots(fill_slots(sequence, 2))
    for output, x in zip(slots, sequence, strict=True):
        np.testing.assert_array_equal(array(output), x.repeat(2, axis=2))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("start", [0, 2, 4])
def test_append_to_cache_drops_what_exceeds_it(start, count):
    old = KVCache(normal(B, H, S, D), normal(B, H, S, 3, seed=1))
    new = KVCache(normal(B, H, count, D, seed=2), normal(B, H, count, 3, seed=3))
    cache = KVCache(*map(ops.convert_to_tensor, old))
    updated = append_to_cache(CachedPast(cache, ops.convert_to_tensor(start, "int32")), new)
    for output, before, written in zip(updated, old, new, strict=True):
        expected = before.copy()
        fitting = min(count, S - start)
        expected[:, :, start : start + fitting] = written[:, :, :fitting]
        np.testing.assert_array_equal(array(output), expected)


def test_append_to_cache_adds_slots():
    old = KVCache(normal(B, H, S, D), normal(B, H, S, 3, seed=1))
    new = KVCache(normal(B, H, 2, D, seed=2), normal(B, H, 2, 3, seed=3))
    cache = KVCache(*(ops.cast(x, "bfloat16") for x in old))
    for output, before, added in zip(
        append_to_cache(CachedPast(cache, None), new), cache, new, strict=True
    ):
        assert "bfloat16" in str(output.dtype)
        expected = np.concatenate([array(before), array(ops.cast(added, "bfloat16"))], axis=2)
        np.testing.assert_array_equal(array(output), expected)


@pytest.mark.parametrize("length", [1, 3, 8])
def test_slot_indices_and_steps_follow_the_writes(length):
    """Each index is written to a list; the second row begins with two masked items."""
    slots = [-1] * length
    for index in range(8):
        positions = np.array([[index], [index - 2]])
        cache = empty_cache(2, 1, 0, length)
        step = cache_step(
            ops.convert_to_tensor(index, "int32"), positions, init_beams(2, 1, 8), cache
        )
        slots[int(step.slot)] = index
        written = np.array(slots) >= 0
        np.testing.assert_array_equal(
            array(slot_indices(index, length))[written], np.array(slots)[written]
        )
        expected = np.array(slots) - [[0], [2]]
        np.testing.assert_array_equal(array(step.key_positions)[:, written], expected[:, written])
        np.testing.assert_array_equal(array(step.mask)[:, 0], written & (expected >= 0))
        np.testing.assert_array_equal(array(step.positions), positions)


@pytest.mark.parametrize("num_past, num_recent", [(0, 3), (0, 6), (2, 4), (5, 1)])
def test_beams_attend_to_the_slots_of_their_sequences(num_past, num_recent):
    """Two beams are reordered after each step; lists hold who has written each of their tokens."""
    parents = [(0, 0), (1, 0), (1, 1), (0, 1), (1, 0), (0, 1)]
    cache, slots = empty_cache(1, 2, num_past, num_recent), num_past + num_recent
    beams = init_beams(1, 2, len(parents))
    sequences: list[list[tuple[int, int]]] = [[], []]  # index and beam
    for index, parent in enumerate(parents):
        beams = write_own_beam(beams, ops.convert_to_tensor(index, "int32"))
        sequences = [[*sequences[beam], (index, beam)] for beam in range(2)]
        if index >= num_past:
            step = cache_step(index, np.array([[index]]), beams, cache)
            assert int(step.slot) == (index - num_past) % num_recent
            expected = np.zeros((2, slots, 2), bool)
            for beam, sequence in enumerate(sequences):
                for written, writer in sequence[-slots:]:
                    late = num_past + (written - num_past) % num_recent
                    expected[beam, written if written < num_past else late, writer] = True
            np.testing.assert_array_equal(array(step.mask)[0], expected.reshape(2, -1))
        beams = ops.take(beams, ops.convert_to_tensor(parent, "int32"), axis=1)
        sequences = [sequences[beam] for beam in parent]


@pytest.mark.usefixtures("factors")
def test_append_recent_continues_the_past():
    past, recent = (KVCache(normal(B, H, n, D), normal(B, H, n, 3, seed=1)) for n in (4, 6))
    cache = append_recent(BeamCache(slots_of(*past), slots_of(*recent)), 2)
    for output, *parts in zip(read_slots(cache.past), past, recent, strict=True):
        np.testing.assert_array_equal(array(output), np.concatenate(parts, axis=2))
    assert [tuple(x.shape) for x in read_slots(cache.recent)] == [(B, H, 2, D), (B, H, 2, 3)]
    assert not any(array(x).any() for x in cache.recent)


@pytest.mark.usefixtures("factors")
def test_grow_slots_adds_empty_ones():
    old = KVCache(normal(B, H, 4, D), normal(B, H, 4, 3, seed=1))
    for output, before in zip(read_slots(grow_slots(slots_of(*old), 6)), old, strict=True):
        expected = np.pad(before, ((0, 0), (0, 0), (0, 2), (0, 0)))
        np.testing.assert_array_equal(array(output), expected)
