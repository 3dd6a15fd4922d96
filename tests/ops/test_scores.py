"""Every score against the published equation, one query and one key at a time, in float64."""

import numpy as np
import pytest
from keras import ops

from keras_attention.ops import scores

B, T, S, Q, D, U = 2, 3, 4, 5, 6, 7


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def each_pair(score, query, keys):
    """score(h_t, h_s) for every pair: (B, T, S)."""
    return np.array([[[score(q, k) for k in keys_b] for q in query_b]
                     for query_b, keys_b in zip(query, keys, strict=True)])  # fmt: skip


def check(result, expected):
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, rtol=1e-5, atol=1e-6)


def tensors(*arrays):
    return [ops.convert_to_tensor(array.astype("float32")) for array in arrays]


@pytest.mark.parametrize("beta", [1.0, 7.5])
def test_content_is_sharpened_cosine(beta):
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


def test_general():
    query, keys, w_a = random(B, T, Q), random(B, S, D, seed=1), random(Q, D, seed=2)
    expected = each_pair(lambda q, k: q @ w_a @ k, query, keys)
    check(scores.general(*tensors(query, keys, w_a.T)), expected)


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
    check(scores.concat(*tensors(query, keys, w_a.T, v_a)), expected)


def test_location():
    query, w_a = random(B, T, Q), random(9, Q, seed=1)
    expected = np.array([[w_a @ h_t for h_t in row] for row in query])
    check(scores.location(*tensors(query, w_a.T)), expected)


def test_weight_normalized():
    v = random(U)
    check(scores.weight_normalized(*tensors(v), 3.0), 3.0 * v / np.linalg.norm(v))


@pytest.mark.parametrize("score", [scores.dot, scores.scaled_dot, scores.content])
def test_products_of_two_widths_are_refused(score):
    with pytest.raises(ValueError, match=r"one width.*Received: .*\(2, 3, 5\).*\(2, 4, 6\)"):
        score(*tensors(random(B, T, Q), random(B, S, D)))


def test_additive_of_two_widths_is_refused():
    with pytest.raises(ValueError, match=r"one width.*Received: .*\(2, 3, 5\).*\(2, 4, 6\)"):
        scores.additive(*tensors(random(B, T, Q), random(B, S, D), random(D)))
