"""Keys and values in caches: written, appended to and read, in both forms of slots."""

from contextlib import nullcontext

import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.ops.kv_cache import (
    CachedPast,
    KVCache,
    append_slots,
    append_to_cache,
    count_rows,
    empty_slots,
    empty_slots_like,
    fill_slots,
    grow_slots,
    read_slots,
    transposed_factors_scope,
    write_slot,
)

B, H, T, S, D = 2, 4, 3, 5, 6


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


@pytest.mark.usefixtures("factors")
def test_append_slots_and_empty_ones_like_them():
    parts = [KVCache(normal(B, H, n, D), normal(B, H, n, 3, seed=1)) for n in (4, 6)]
    slots = append_slots(*(slots_of(*part) for part in parts))
    for output, *x in zip(read_slots(slots), *parts, strict=True):
        np.testing.assert_array_equal(array(output), np.concatenate(x, axis=2))
    empty = read_slots(empty_slots_like(slots, 2))
    assert [tuple(x.shape) for x in empty] == [(B, H, 2, D), (B, H, 2, 3)]
    assert not any(array(x).any() for x in empty)


@pytest.mark.usefixtures("factors")
def test_grow_slots_adds_empty_ones():
    old = KVCache(normal(B, H, 4, D), normal(B, H, 4, 3, seed=1))
    for output, before in zip(read_slots(grow_slots(slots_of(*old), 6)), old, strict=True):
        expected = np.pad(before, ((0, 0), (0, 0), (0, 2), (0, 0)))
        np.testing.assert_array_equal(array(output), expected)
