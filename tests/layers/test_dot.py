import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.layers import ContentAttention, DotAttention

B, T, S, D = 2, 3, 5, 4
KEPT = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(B, T, D)).astype("float32"), rng.normal(size=(B, S, D)).astype(
        "float32"
    )


def softmax(energies):
    kept = np.exp(energies) * KEPT[:, None]
    return kept / kept.sum(-1, keepdims=True)


def check(layer, query, value, energies):
    """The layer gives these energies, their softmax and its context."""
    output, weights = layer(query, value, value_mask=KEPT, return_attention_scores=True)
    got = layer.compute_scores(query, layer.memory(value))
    expected = softmax(energies)
    for result, wanted in ((got, energies), (weights, expected), (output, expected @ value)):
        np.testing.assert_allclose(ops.convert_to_numpy(result), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_dot_and_scaled_dot(scaled):
    query, value = data()
    energies = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        energies[b, t, s] = query[b, t] @ value[b, s] / (np.sqrt(D) if scaled else 1)
    check(DotAttention(scaled=scaled), query, value, energies)


def test_unscaled_dot_is_keras_attention():
    query, value = data()
    key = data(1)[1]
    ours, our_scores = DotAttention(scaled=False)(
        query, value, key, value_mask=KEPT, return_attention_scores=True
    )
    theirs, their_scores = keras.layers.Attention()(
        [query, value, key], mask=[None, ops.convert_to_tensor(KEPT)], return_attention_scores=True
    )
    for a, b in ((ours, theirs), (our_scores, their_scores)):
        np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-6)


def test_scaled_dot_is_the_attention_inside_multi_head_attention():
    """One head whose four projections are identities."""
    query, value = data()
    heads = keras.layers.MultiHeadAttention(1, D, use_bias=False)
    heads.build(query.shape, value.shape)
    for weight in heads.weights:
        weight.assign(np.eye(D).reshape(weight.shape))
    theirs = heads(query, value, value_mask=ops.convert_to_tensor(KEPT))
    ours = DotAttention()(query, value, value_mask=KEPT)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), rtol=1e-5, atol=1e-6
    )


def test_content_starts_at_its_sharpness():
    query, value = data()
    energies = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        k, m = query[b, t].astype("float64"), value[b, s].astype("float64")
        energies[b, t, s] = 5.0 * k @ m / (np.linalg.norm(k) * np.linalg.norm(m))
    check(ContentAttention(sharpness=5.0), query, value, energies)


def test_content_emits_its_sharpness_from_the_query():
    query, value = data()
    w, b_beta = np.random.default_rng(2).normal(size=(D, 1)), 0.3
    layer = ContentAttention()
    layer.build(query.shape, value.shape)
    layer.beta.set_weights([w, np.array([b_beta])])
    energies = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        k, m = query[b, t].astype("float64"), value[b, s].astype("float64")
        beta = np.log1p(np.exp(k @ w[:, 0] + b_beta))
        energies[b, t, s] = beta * k @ m / (np.linalg.norm(k) * np.linalg.norm(m))
    check(layer, query, value, energies)


@pytest.mark.parametrize("sharpness", [1e-3, 1.0, 500.0])
def test_any_positive_sharpness_can_start(sharpness):
    layer = ContentAttention(sharpness=sharpness)
    query, value = data()
    layer.build(query.shape, value.shape)
    beta = ops.convert_to_numpy(layer.beta(query))
    np.testing.assert_allclose(beta, sharpness, rtol=1e-4)


def test_sharpness_must_be_positive():
    with pytest.raises(ValueError, match="`sharpness` must be positive. Received: sharpness=0"):
        ContentAttention(sharpness=0)


@pytest.mark.parametrize("layer", [DotAttention, ContentAttention])
def test_two_widths_are_refused(layer):
    with pytest.raises(ValueError, match=r"one width.*Received: .*\(2, 3, 4\).*\(2, 5, 6\)"):
        layer()(np.ones((B, T, D), "float32"), np.ones((B, S, 6), "float32"))
