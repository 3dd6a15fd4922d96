"""Caches for beams: the steps that read them, and their growth."""

import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.ops.beam_cache import (
    BeamCache,
    append_recent,
    cache_step,
    cached_context,
    cached_scores,
    init_beams,
    slot_indices,
    write_own_beam,
)
from keras_attention.ops.kv_cache import KVCache, empty_slots, fill_slots, read_slots

B, H, D = 2, 4, 6


def empty_cache(batch, num_beams, num_past, num_recent):
    """Returns a cache with these numbers of slots."""
    return BeamCache(
        *(empty_slots((batch, 1), n * num_beams, 1, 1) for n in (num_past, num_recent))
    )


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


def test_append_recent_continues_the_past():
    past, recent = (KVCache(normal(B, H, n, D), normal(B, H, n, 3, seed=1)) for n in (4, 6))
    cache = append_recent(BeamCache(fill_slots(past, 1), fill_slots(recent, 1)), 2)
    for output, *parts in zip(read_slots(cache.past), past, recent, strict=True):
        np.testing.assert_array_equal(array(output), np.concatenate(parts, axis=2))
    assert [tuple(x.shape) for x in read_slots(cache.recent)] == [(B, H, 2, D), (B, H, 2, 3)]
    assert not any(array(x).any() for x in cache.recent)


def test_scores_and_contexts_are_those_of_all_slots():
    """Compared with one array of keys and of values, also with fewer key/value heads."""
    groups, beams = 2, 3
    past, recent = (
        KVCache(*map(ops.convert_to_tensor, (normal(B, groups, n, D), normal(B, groups, n, 5))))
        for n in (4, 6)
    )
    query, weights = normal(B, H, beams, D, seed=2), normal(B, H, beams, 10, seed=3)
    keys, values = (np.concatenate(pair, axis=2) for pair in zip(past, recent, strict=True))
    keys, values = (np.repeat(x, H // groups, axis=1).astype("float64") for x in (keys, values))
    cache = BeamCache(fill_slots(past, 1), fill_slots(recent, 1))
    without_past = cache._replace(past=empty_slots((B, groups), 0, D, 5))
    for case, used in ((cache, slice(None)), (without_past, slice(4, None))):
        expected = query @ keys[:, :, used].swapaxes(2, 3) / np.sqrt(D)
        np.testing.assert_allclose(array(cached_scores(query, case)), expected, atol=1e-5)
        expected = weights[..., used] @ values[:, :, used]
        received = cached_context(ops.convert_to_tensor(weights[..., used]), case)
        np.testing.assert_allclose(array(received), expected, atol=1e-5)
