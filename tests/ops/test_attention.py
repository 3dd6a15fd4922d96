"""Weights, contexts and windows against the papers' equations."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, gradients, normal
from keras_attention.ops.attention import (
    context,
    gaussian_window,
    masked_softmax,
    predicted_centers,
)

SCORES = np.random.default_rng(0).normal(size=(2, 3, 4)) * 3
MASK = np.array([[[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], [[1, 1, 1, 1]] * 3], bool)


def expected_softmax(scores, mask):
    """Equation 6 of Bahdanau et al. 2015 over the unmasked keys; zeros if there are none."""
    exponentials = np.exp(scores) * mask
    total = exponentials.sum(-1, keepdims=True)
    return np.divide(exponentials, total, out=np.zeros_like(scores), where=total > 0)


def test_softmax_without_a_mask():
    weights = array(masked_softmax(SCORES.astype("float32")))
    np.testing.assert_allclose(weights, expected_softmax(SCORES, MASK | True), rtol=1e-5)


@pytest.mark.parametrize(
    "dtype, tolerance", [("float32", 1e-6), ("float16", 1e-3), ("bfloat16", 8e-3)]
)
def test_masked_softmax_in_every_dtype(dtype, tolerance):
    weights = masked_softmax(ops.cast(SCORES, dtype), MASK)
    assert keras.backend.standardize_dtype(weights.dtype) == dtype
    weights = array(ops.cast(weights, "float32"))
    np.testing.assert_allclose(weights, expected_softmax(SCORES, MASK), atol=tolerance)
    assert (weights[~np.broadcast_to(MASK, weights.shape)] == 0).all()


def test_masked_softmax_takes_numeric_masks_that_broadcast():
    mask = np.array([[[1, 0, 1, 1]], [[0, 1, 1, 1]]])
    weights = masked_softmax(SCORES.astype("float32"), mask)
    np.testing.assert_allclose(array(weights), expected_softmax(SCORES, mask), rtol=1e-5)


@pytest.mark.parametrize("masked_score", [np.inf, -np.inf, np.nan, 1e30])
def test_masked_scores_do_not_change_the_weights(masked_score):
    scores = np.where(MASK, SCORES, masked_score).astype("float32")
    weights = array(masked_softmax(scores, MASK))
    np.testing.assert_allclose(weights, expected_softmax(SCORES, MASK), rtol=1e-5)


def test_gradient_is_finite_and_zero_at_masked_keys():
    target = np.arange(24, dtype="float32").reshape(2, 3, 4)
    (g,) = gradients(
        lambda x: ops.sum(ops.multiply(masked_softmax(x, MASK), target)), [SCORES.astype("float32")]
    )
    weights = expected_softmax(SCORES, MASK)
    expected = weights * (target - (weights * target).sum(-1, keepdims=True))
    np.testing.assert_allclose(g, expected, rtol=1e-4, atol=1e-5)
    assert (g[~MASK] == 0).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradient_in_half_precision_is_finite_where_all_is_masked(dtype):
    def loss(x):
        weights = ops.cast(masked_softmax(ops.cast(x, dtype), MASK), "float32")
        return ops.sum(weights * ops.convert_to_tensor(MASK * SCORES, "float32"))

    (g,) = gradients(loss, [SCORES.astype("float32")])
    assert np.isfinite(g).all() and np.abs(g).max() > 0.1
    assert (g[~MASK] == 0).all()


def test_context_is_the_weighted_sum_of_the_values():
    rng = np.random.default_rng(1)
    weights, values = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
    result = context(weights.astype("float32"), values.astype("float32"))
    expected = [[sum(w[s] * v[s] for s in range(4)) for w in ws]
                for ws, v in zip(weights, values, strict=True)]  # fmt: skip
    np.testing.assert_allclose(array(result), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_context_of_grouped_heads(groups):
    """Head h of the weights applies to head h // (H / G) of the values (Ainslie et al. 2023)."""
    heads = 4
    weights, values = normal(2, heads, 3, 5, seed=2), normal(2, groups, 5, 7, seed=3)
    result = array(context(weights, values))
    for b, h in np.ndindex(2, heads):
        expected = weights[b, h] @ values[b, h // (heads // groups)]
        np.testing.assert_allclose(result[b, h], expected, rtol=1e-5, atol=1e-6)


def test_predicted_centers_match_equation_9():
    rng = np.random.default_rng(2)
    query, w_p, v_p = rng.normal(size=(2, 3, 4)), rng.normal(size=(5, 4)), rng.normal(size=5)
    lengths = np.array([9, 4])
    projected = ops.convert_to_tensor((query @ w_p.T).astype("float32"))
    result = predicted_centers(projected, ops.convert_to_tensor(v_p.astype("float32")), lengths)
    expected = [[[size / (1 + np.exp(-v_p @ np.tanh(w_p @ h)))] for h in row]
                for row, size in zip(query, lengths, strict=True)]  # fmt: skip
    np.testing.assert_allclose(array(result), expected, rtol=1e-5)


def test_gaussian_window_matches_equation_10():
    centers, width = [1.3, 4.0], 3
    positions = ops.reshape(ops.arange(6), (1, 1, 6))
    result = gaussian_window(positions, ops.array([[[1.3], [4.0]]]), width)
    sigma = width / 2
    expected = [[np.exp(-((s - p) ** 2) / (2 * sigma**2)) for s in range(6)] for p in centers]
    np.testing.assert_allclose(array(result)[0], expected, rtol=1e-5)
