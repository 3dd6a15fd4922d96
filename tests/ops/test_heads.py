import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.ops.attention import Memory
from keras_attention.ops.heads import context, extend, merge_heads, scaled_dot, split_heads

B, H, T, S, D = 2, 4, 3, 5, 6


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_heads_are_slices_of_the_width():
    x = data(B, T, H * D)
    split = array(split_heads(x, H))
    for head in range(H):
        np.testing.assert_array_equal(split[:, head], x[..., head * D : (head + 1) * D])
    np.testing.assert_array_equal(array(merge_heads(split)), x)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_head_looks_at_the_keys_and_values_of_its_group(groups):
    """Head h has the keys of group h // (H / G) (Ainslie et al. 2023), equation 1 of Vaswani."""
    query, keys = data(B, H, T, D), data(B, groups, S, D, seed=1)
    weights, values = data(B, H, T, S, seed=2), data(B, groups, S, 7, seed=3)
    energies, contexts = array(scaled_dot(query, keys)), array(context(weights, values))
    for b, h in np.ndindex(B, H):
        g = h // (H // groups)
        np.testing.assert_allclose(
            energies[b, h], query[b, h] @ keys[b, g].T / np.sqrt(D), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(
            contexts[b, h], weights[b, h] @ values[b, g], rtol=1e-5, atol=1e-6
        )


def test_scaled_dot_stays_in_the_range_of_float16():
    """q . k is past 65504 here, q . k / sqrt(D) is not."""
    query = keys = ops.full((1, 1, 1, 64), 40.0, dtype="float16")
    np.testing.assert_allclose(array(scaled_dot(query, keys)), 40.0 * 40 * 8, rtol=1e-3)


@pytest.mark.parametrize("slot", [0, 4])
def test_extend_writes_one_slot(slot):
    values, keys = data(B, 2, S, 3), data(B, 2, S, D, seed=1)
    new = Memory(data(B, 2, 1, 3, seed=2), data(B, 2, 1, D, seed=3))
    mask, positions = np.ones((B, S), bool), np.arange(S)[None]
    memory = Memory(*map(ops.convert_to_tensor, (values, keys, mask, positions)))
    after = extend(memory, new, ops.convert_to_tensor(slot, "int32"))
    for got, old, one in ((after.values, values, new.values), (after.keys, keys, new.keys)):
        expected = old.copy()
        expected[:, :, slot] = one[:, :, 0]
        np.testing.assert_array_equal(array(got), expected)
    assert after.mask is memory.mask and after.positions is memory.positions


def test_extend_keeps_the_dtype_of_the_cache():
    cache = Memory(*[ops.zeros((1, 1, 2, 1), "bfloat16")] * 2)
    after = extend(cache, Memory(*[ops.ones((1, 1, 1, 1), "float32")] * 2), 0)
    assert "bfloat16" in str(after.values.dtype) and "bfloat16" in str(after.keys.dtype)
