"""Dot, scaled dot and content-based attention against their equations."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import ContentAttention, DotAttention, LuongAttention

B, T, S, D = 2, 3, 5, 4
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(B, T, D)).astype("float32"), rng.normal(size=(B, S, D)).astype(
        "float32"
    )


def softmax(scores):
    exponentials = np.exp(scores) * MASK[:, None]
    return exponentials / exponentials.sum(-1, keepdims=True)


def check(layer, query, value, scores):
    """Checks the scores of a layer, their softmax and its context."""
    output, weights = layer(query, value, value_mask=MASK, return_attention_scores=True)
    computed = layer.compute_scores(query, layer.memory(value))
    expected = softmax(scores)
    for result, expected_result in (
        (computed, scores),
        (weights, expected),
        (output, expected @ value),
    ):
        np.testing.assert_allclose(array(result), expected_result, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_dot_and_scaled_dot(scaled):
    query, value = data()
    scores = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        scores[b, t, s] = query[b, t] @ value[b, s] / (np.sqrt(D) if scaled else 1)
    check(DotAttention(scaled=scaled), query, value, scores)


def test_unscaled_dot_matches_keras_attention():
    query, value = data()
    key = data(1)[1]
    ours, our_weights = DotAttention(scaled=False)(
        query, value, key, value_mask=MASK, return_attention_scores=True
    )
    theirs, their_weights = keras.layers.Attention()(
        [query, value, key], mask=[None, ops.convert_to_tensor(MASK)], return_attention_scores=True
    )
    for a, b in ((ours, theirs), (our_weights, their_weights)):
        np.testing.assert_allclose(array(a), array(b), atol=1e-6)


def test_scaled_dot_matches_one_head_of_multi_head_attention():
    """The four projections of the head are identities."""
    query, value = data()
    heads = keras.layers.MultiHeadAttention(1, D, use_bias=False)
    heads.build(query.shape, value.shape)
    for weight in heads.weights:
        weight.assign(np.eye(D).reshape(weight.shape))
    theirs = heads(query, value, value_mask=ops.convert_to_tensor(MASK))
    ours = DotAttention()(query, value, value_mask=MASK)
    np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-5, atol=1e-6)


def test_content_starts_at_the_initial_sharpness():
    query, value = data()
    scores = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        k, m = query[b, t].astype("float64"), value[b, s].astype("float64")
        scores[b, t, s] = 5.0 * k @ m / (np.linalg.norm(k) * np.linalg.norm(m))
    check(ContentAttention(sharpness=5.0), query, value, scores)


def test_content_computes_the_sharpness_from_the_query():
    query, value = data()
    w, b_beta = np.random.default_rng(2).normal(size=(D, 1)), 0.3
    layer = ContentAttention()
    layer.build(query.shape, value.shape)
    layer.beta.set_weights([w, np.array([b_beta])])
    scores = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        k, m = query[b, t].astype("float64"), value[b, s].astype("float64")
        beta = np.log1p(np.exp(k @ w[:, 0] + b_beta))
        scores[b, t, s] = beta * k @ m / (np.linalg.norm(k) * np.linalg.norm(m))
    check(layer, query, value, scores)


@pytest.mark.parametrize("sharpness", [1e-3, 1.0, 500.0])
def test_any_positive_initial_sharpness(sharpness):
    layer = ContentAttention(sharpness=sharpness)
    query, value = data()
    layer.build(query.shape, value.shape)
    beta = array(layer.beta(query))
    np.testing.assert_allclose(beta, sharpness, rtol=1e-4)


def test_sharpness_must_be_positive():
    with pytest.raises(ValueError, match="`sharpness` must be positive. Received: sharpness=0"):
        ContentAttention(sharpness=0)


@pytest.mark.parametrize("layer", [DotAttention, ContentAttention])
def test_query_and_keys_require_the_same_width(layer):
    with pytest.raises(ValueError, match=r"same width.*Received: .*\(2, 3, 4\).*\(2, 5, 6\)"):
        layer()(np.ones((B, T, D), "float32"), np.ones((B, S, 6), "float32"))


@pytest.mark.parametrize(
    "layer",
    [
        DotAttention(scaled=False, dtype="float16"),
        DotAttention(dtype="float16"),
        LuongAttention("dot", scale=True, dtype="float16"),
        LuongAttention("general", scale=True, dtype="float16"),
    ],
    ids=["dot", "scaled-dot", "luong-dot", "luong-general"],
)
def test_scores_beyond_the_range_of_float16(layer):
    """The score of the first key is 360,000, or half of it; that of the second its negative."""
    query, value = np.full((1, 1, 4), 300.0), np.full((1, 2, 4), 300.0) * [[[1], [-1]]]
    layer.build(query.shape, value.shape)
    if layer.name.startswith("luong") and layer.score_mode == "general":
        layer.key_dense.set_weights([np.eye(4)])
    output, weights = layer(query, value, return_attention_scores=True)
    assert array(weights).tolist() == [[[1.0, 0.0]]] and array(output).tolist() == [[[300.0] * 4]]
    assert keras.backend.standardize_dtype(weights.dtype) == "float16"
