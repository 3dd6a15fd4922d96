"""Splitting and merging of heads, and the key/value cache."""

import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.ops.heads import (
    CachedPast,
    KVCache,
    append_to_cache,
    cache_step,
    merge_heads,
    slot_indices,
    split_heads,
    update_cache,
)

B, H, T, S, D = 2, 4, 3, 5, 6


def test_heads_are_slices_of_the_width():
    x = normal(B, T, H * D)
    split = array(split_heads(x, H))
    for head in range(H):
        np.testing.assert_array_equal(split[:, head], x[..., head * D : (head + 1) * D])
    np.testing.assert_array_equal(array(merge_heads(split)), x)


@pytest.mark.parametrize("slot", [0, 4])
def test_update_cache_writes_one_slot(slot):
    old = KVCache(normal(B, T, 2, S, D), normal(B, T, 2, S, 3, seed=1))
    new = KVCache(normal(B, T, 2, 1, D, seed=2), normal(B, T, 2, 1, 3, seed=3))
    cache = KVCache(*map(ops.convert_to_tensor, old))
    updated = update_cache(cache, new, ops.convert_to_tensor(slot, "int32"))
    for output, before, written in zip(updated, old, new, strict=True):
        expected = before.copy()
        expected[:, :, :, slot] = written[:, :, :, 0]
        np.testing.assert_array_equal(array(output), expected)


def test_update_cache_casts_to_the_dtype_of_the_cache():
    cache = KVCache(*[ops.zeros((1, 1, 1, 2, 1), "bfloat16")] * 2)
    updated = update_cache(cache, KVCache(*[ops.ones((1, 1, 1, 1, 1), "float32")] * 2), 0)
    assert "bfloat16" in str(updated.values.dtype) and "bfloat16" in str(updated.keys.dtype)


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
        step = cache_step(ops.convert_to_tensor(index, "int32"), positions, length)
        slots[int(step.slot)] = index
        written = np.array(slots) >= 0
        np.testing.assert_array_equal(
            array(slot_indices(index, length))[written], np.array(slots)[written]
        )
        expected = np.array(slots) - [[0], [2]]
        np.testing.assert_array_equal(array(step.key_positions)[:, written], expected[:, written])
        np.testing.assert_array_equal(array(step.mask)[:, 0], written & (expected >= 0))
        np.testing.assert_array_equal(array(step.positions), positions)
