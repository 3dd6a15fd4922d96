"""Splitting and merging of heads, and the cache of keys and values."""

import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.ops.attention import Memory
from keras_attention.ops.heads import extend, merge_heads, split_heads

B, H, T, S, D = 2, 4, 3, 5, 6


def test_heads_are_slices_of_the_width():
    x = normal(B, T, H * D)
    split = array(split_heads(x, H))
    for head in range(H):
        np.testing.assert_array_equal(split[:, head], x[..., head * D : (head + 1) * D])
    np.testing.assert_array_equal(array(merge_heads(split)), x)


@pytest.mark.parametrize("slot", [0, 4])
def test_extend_writes_one_slot(slot):
    values, keys = normal(B, 2, S, 3), normal(B, 2, S, D, seed=1)
    new = Memory(normal(B, 2, 1, 3, seed=2), normal(B, 2, 1, D, seed=3))
    mask, positions = np.ones((B, S), bool), np.arange(S)[None]
    memory = Memory(*map(ops.convert_to_tensor, (values, keys, mask, positions)))
    extended = extend(memory, new, ops.convert_to_tensor(slot, "int32"))
    for result, before, added in (
        (extended.values, values, new.values),
        (extended.keys, keys, new.keys),
    ):
        expected = before.copy()
        expected[:, :, slot] = added[:, :, 0]
        np.testing.assert_array_equal(array(result), expected)
    assert extended.mask is memory.mask and extended.positions is memory.positions


def test_extend_casts_to_the_dtype_of_the_cache():
    cache = Memory(*[ops.zeros((1, 1, 2, 1), "bfloat16")] * 2)
    extended = extend(cache, Memory(*[ops.ones((1, 1, 1, 1), "float32")] * 2), 0)
    assert "bfloat16" in str(extended.values.dtype) and "bfloat16" in str(extended.keys.dtype)
