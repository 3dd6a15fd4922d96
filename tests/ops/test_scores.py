"""Every score against the published equation, one query and one key at a time, in float64."""

import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.ops import scores

B, T, S, Q, D, U = 2, 3, 4, 5, 6, 7


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def each_pair(score, query, keys):
    """Applies the score to every query and key, (B, T, S)."""
    return np.array([[[score(q, k) for k in keys_b] for q in query_b]
                     for query_b, keys_b in zip(query, keys, strict=True)])  # fmt: skip


def check(result, expected):
    np.testing.assert_allclose(array(result), expected, rtol=1e-5, atol=1e-6)


def tensors(*arrays):
    return [ops.convert_to_tensor(array.astype("float32")) for array in arrays]


@pytest.mark.parametrize("beta", [1.0, 7.5])
def test_content_is_the_cosine_times_the_sharpness(beta):
    query, keys = random(B, T, D), random(B, S, D, seed=1)
    expected = each_pair(
        lambda k, m: beta * (k @ m) / (np.linalg.norm(k) * np.linalg.norm(m)), query, keys
    )
    check(scores.content(*tensors(query, keys), beta), expected)


def test_content_takes_a_sharpness_per_query():
    query, keys, beta = random(B, T, D), random(B, S, D, seed=1), np.abs(random(B, T, 1, seed=2))
    cosine = each_pair(lambda k, m: (k @ m) / (np.linalg.norm(k) * np.linalg.norm(m)), query, keys)
    check(scores.content(*tensors(query, keys, beta)), beta * cosine)


def test_content_of_zeros_is_zero():
    query, keys = tensors(np.zeros((1, 1, D)), random(1, S, D))
    check(scores.content(query, keys), np.zeros((1, 1, S)))


def test_dot():
    query, keys = random(B, T, D), random(B, S, D, seed=1)
    check(scores.dot(*tensors(query, keys)), each_pair(lambda q, k: q @ k, query, keys))


def test_scaled_dot():
    query, keys = random(B, T, D), random(B, S, D, seed=1)
    expected = each_pair(lambda q, k: q @ k / np.sqrt(D), query, keys)
    check(scores.scaled_dot(*tensors(query, keys)), expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_scaled_dot_of_grouped_heads(groups):
    """Head h is compared with head h // (H / G) of the keys (Ainslie et al. 2023)."""
    heads = 4
    query, keys = normal(B, heads, T, D), normal(B, groups, S, D, seed=1)
    result = array(scores.scaled_dot(query, keys))
    for b, h in np.ndindex(B, heads):
        expected = query[b, h] @ keys[b, h // (heads // groups)].T / np.sqrt(D)
        np.testing.assert_allclose(result[b, h], expected, rtol=1e-5, atol=1e-6)


def test_scaled_dot_stays_in_the_range_of_float16():
    """q . k exceeds 65504 here, q . k / sqrt(D) does not."""
    query = keys = ops.full((1, 1, 1, 64), 40.0, dtype="float16")
    np.testing.assert_allclose(array(scores.scaled_dot(query, keys)), 40.0 * 40 * 8, rtol=1e-3)


def test_general():
    query, keys, w_a = random(B, T, Q), random(B, S, D, seed=1), random(Q, D, seed=2)
    expected = each_pair(lambda q, k: q @ w_a @ k, query, keys)
    check(scores.general(*tensors(query, keys @ w_a.T)), expected)


def test_additive():
    query, keys = random(B, T, Q), random(B, S, D, seed=1)
    w_a, u_a, v_a = random(U, Q, seed=2), random(U, D, seed=3), random(U, seed=4)
    expected = each_pair(lambda s, h: v_a @ np.tanh(w_a @ s + u_a @ h), query, keys)
    check(scores.additive(*tensors(query @ w_a.T, keys @ u_a.T, v_a)), expected)


def test_concat():
    query, keys = random(B, T, Q), random(B, S, D, seed=1)
    w_a, v_a = random(U, Q + D, seed=2), random(U, seed=3)
    expected = each_pair(
        lambda h_t, h_s: v_a @ np.tanh(w_a @ np.concatenate([h_t, h_s])), query, keys
    )
    projected = query @ w_a[:, :Q].T, keys @ w_a[:, Q:].T
    check(scores.concat(*tensors(*projected, v_a)), expected)


def test_location():
    """Each key has the score of its position; keys beyond the last position have score 0."""
    query, w_a = random(B, T, Q), random(3, Q, seed=1)
    key_positions = np.array([[[0, 1, 2, 3]], [[2, 0, 3, 1]]])
    expected = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        if key_positions[b, 0, s] < 3:
            expected[b, t, s] = (w_a @ query[b, t])[key_positions[b, 0, s]]
    result = scores.location(*tensors(query @ w_a.T), ops.array(key_positions, "int32"))
    check(result, expected)


def test_relu_concat():
    query, keys, w_f = random(B, T, D), random(B, S, D, seed=1), random(2 * D, seed=2)
    expected = each_pair(lambda q, k: max(w_f @ np.concatenate([q, k]), 0), query, keys)
    projected = query @ w_f[:D, None], keys @ w_f[D:, None]
    check(scores.relu_concat(*tensors(*projected)), expected)


def test_weight_normalized():
    v = random(U)
    check(scores.weight_normalized(*tensors(v), 3.0), 3.0 * v / np.linalg.norm(v))


@pytest.mark.parametrize("score", [scores.dot, scores.scaled_dot, scores.content, scores.general])
def test_products_require_the_same_width(score):
    with pytest.raises(ValueError, match=r"same width.*Received: .*\(2, 3, 5\).*\(2, 4, 6\)"):
        score(*tensors(random(B, T, Q), random(B, S, D)))


@pytest.mark.parametrize("score", [scores.additive, scores.concat])
def test_additive_scores_require_the_same_width(score):
    with pytest.raises(ValueError, match=r"same width.*Received: .*\(2, 3, 5\).*\(2, 4, 6\)"):
        score(*tensors(random(B, T, Q), random(B, S, D), random(D)))
