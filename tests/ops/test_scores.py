"""Every score against the published equation, one query and one key at a time, in float64."""

import numpy as np
import pytest
from keras import ops

from helpers import array, gradients, normal
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


def test_content_is_the_cosine_by_default():
    query, keys = random(B, T, D), random(B, S, D, seed=1)
    cosine = each_pair(lambda k, m: (k @ m) / (np.linalg.norm(k) * np.linalg.norm(m)), query, keys)
    check(scores.content(*tensors(query, keys)), cosine)


def test_content_of_zeros_is_zero():
    query, keys = tensors(np.zeros((1, 1, D)), random(1, S, D))
    check(scores.content(query, keys), np.zeros((1, 1, S)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("length", [0.0, 1e-6, 1e-3, 1.0, 3e4])
def test_gradient_of_content_is_finite_for_vectors_of_any_length(length, dtype):
    query = length * np.eye(1, D)[None]  # (1, 1, D)
    query = ops.cast(ops.convert_to_tensor(query.astype("float32")), dtype)
    keys = ops.cast(ops.convert_to_tensor(random(1, S, D).astype("float32")), dtype)
    (gradient,) = gradients(
        lambda x: ops.sum(ops.cast(scores.content(x, keys), "float32")), [query]
    )
    assert np.isfinite(gradient).all()


def test_content_of_very_short_and_very_long_vectors():
    query, keys = random(1, 1, D), random(1, S, D)
    expected = array(scores.content(*tensors(query, keys)))
    for length in (1e-30, 1e-12, 1e12, 1e30):
        check(scores.content(*tensors(length * query, keys)), expected)


def test_content_gradient_is_that_of_the_cosine():
    """d cos(q, k) / dq = (k / |k| - cos(q, k) q / |q|) / |q|"""
    query, key = random(D), random(D, seed=1)
    (gradient,) = gradients(
        lambda x: ops.sum(scores.content(x, key.astype("float32")[None, None])),
        [query.astype("float32")[None, None]],
    )
    unit, unit_key = query / np.linalg.norm(query), key / np.linalg.norm(key)
    expected = (unit_key - (unit @ unit_key) * unit) / np.linalg.norm(query)
    np.testing.assert_allclose(gradient[0, 0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.tensorflow_only  # on the other backends Keras's operations return float32
def test_float64_scores_have_the_precision_of_float64():
    query, keys, v = (
        ops.convert_to_tensor(x) for x in (random(B, T, D), random(B, S, D), random(D))
    )
    q, k, v_a = map(array, (query, keys, v))
    expected = {
        scores.dot: each_pair(lambda q, k: q @ k, q, k),
        scores.scaled_dot: each_pair(lambda q, k: q @ k / np.sqrt(D), q, k),
        scores.content: each_pair(
            lambda q, k: q @ k / (np.linalg.norm(q) * np.linalg.norm(k)), q, k
        ),
    }
    for score, value in expected.items():
        np.testing.assert_allclose(array(score(query, keys)), value, rtol=1e-13)
    additive = each_pair(lambda q, k: v_a @ np.tanh(q + k), q, k)
    np.testing.assert_allclose(array(scores.additive(query, keys, v)), additive, rtol=1e-12)
    normalized = array(scores.weight_normalized(v, ops.convert_to_tensor(np.float64(3.0))))
    np.testing.assert_allclose(normalized, 3 * v_a / np.linalg.norm(v_a), rtol=1e-13)


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


@pytest.mark.parametrize("score", [scores.dot, scores.scaled_dot, scores.general])
def test_products_beyond_the_range_of_float16(score):
    """The products are 360,000 and -360,000, float16 ends at 65,504."""
    query, keys = np.full((1, 1, 4), 300.0), np.array([300.0, -300.0]).reshape(1, 2, 1) * np.ones(4)
    result = score(*(ops.convert_to_tensor(x.astype("float16")) for x in (query, keys)))
    expected = 360_000 / (2 if score is scores.scaled_dot else 1)
    assert array(result).tolist() == [[[expected, -expected]]]


def test_additive_scores_beyond_the_range_of_float16():
    query, keys, v = np.full((1, 1, 2), 9.0), np.full((1, 1, 2), 9.0), np.full(2, 60_000.0)
    result = scores.additive(
        *(ops.convert_to_tensor(x.astype("float16")) for x in (query, keys, v))
    )
    assert array(result).tolist() == [[[120_000.0]]]


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
    query, w_a = random(B, T, Q), random(6, Q, seed=1)
    key_positions = np.array([[[0, 1, 5, 6]], [[4, 0, 6, 2]]])
    expected = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        if key_positions[b, 0, s] < 6:
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
