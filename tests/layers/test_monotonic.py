"""Monotonic attention against the recurrences of Raffel et al. 2017, step by step in float64."""

import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import MonotonicAttention

B, T, S, D, U = 2, 4, 5, 3, 6
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def data():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(B, T, U)), rng.normal(size=(B, S, D))
    return query.astype("float32"), value.astype("float32")


def build(query, value, **kwargs):
    """Returns a layer with random weights, and the weights by name in float64."""
    layer = MonotonicAttention(U, **kwargs)
    layer.build(query.shape, value.shape)
    rng = np.random.default_rng(1)
    weights = {}
    for weight in layer.trainable_weights:
        name = weight.path.removeprefix(f"{layer.name}/").removeprefix("scorer/")
        weights[name] = rng.normal(size=weight.shape)
        weight.assign(weights[name])
    return layer, weights


def expected_scores(score_mode, normalize, weights, query, value):
    """Scores of the two monotonic mechanisms of tfa.seq2seq, plus the bias r."""
    scores = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        q, h = query[b, t].astype("float64"), value[b, s].astype("float64")
        if score_mode == "luong":
            e = weights.get("g", 1) * q @ (h @ weights["key/kernel"])
        elif normalize:
            v = weights["g"] * weights["v"] / np.linalg.norm(weights["v"])
            e = v @ np.tanh(q @ weights["query/kernel"] + h @ weights["key/kernel"] + weights["b"])
        else:
            e = weights["v"] @ np.tanh(q @ weights["query/kernel"] + h @ weights["key/kernel"])
        scores[b, t, s] = e + weights["score_bias"]
    return scores


def soft(scores):
    """Equations 11 to 14, starting with all attention on the first key."""
    attention = np.zeros((B, T, S))
    for b in range(B):
        previous = np.eye(S)[0]
        for t in range(T):
            p = MASK[b] / (1 + np.exp(-scores[b, t]))
            q, p_before = 0.0, 0.0
            for j in range(S):
                q = (1 - p_before) * q + previous[j]
                attention[b, t, j], p_before = p[j] * q, p[j]
            previous = attention[b, t]
    return attention


def hard(scores):
    """Algorithm 1: move from the previous key to the first key with p > 0.5."""
    attention = np.zeros((B, T, S))
    for b in range(B):
        j = 0
        for t in range(T):
            while j < S and not (MASK[b, j] and scores[b, t, j] > 0):
                j += 1
            if j == S:
                break
            attention[b, t, j] = 1
    return attention


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("score_mode", ["bahdanau", "luong"])
@pytest.mark.parametrize("mode", ["parallel", "recursive", "hard"])
def test_matches_tfa(score_mode, normalize, mode):
    query, value = data()
    layer, weights = build(query, value, score_mode=score_mode, normalize=normalize, mode=mode)
    scores = expected_scores(score_mode, normalize, weights, query, value)
    expected = hard(scores) if mode == "hard" else soft(scores)
    computed = layer.compute_scores(query, layer.memory(value))
    np.testing.assert_allclose(array(computed), scores, rtol=1e-4, atol=1e-4)
    output, attention = layer(query, value, value_mask=MASK, return_attention_scores=True)
    np.testing.assert_allclose(array(attention), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(array(output), expected @ value, rtol=1e-3, atol=1e-4)


def test_attention_never_moves_back():
    rng = np.random.default_rng(4)
    query, value = rng.normal(size=(B, 9, U)), rng.normal(size=(B, S, D))
    layer, _ = build(query, value, mode="hard")
    _, attention = layer(query, value, return_attention_scores=True)
    for row in array(attention):
        stops = [step.argmax() for step in row if step.any()]
        assert stops == sorted(stops)


def test_initial_state_is_at_the_first_unmasked_key():
    query, value = data()
    layer, _ = build(query, value)
    mask = np.array([[0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
    first = array(layer.initial_state(layer.memory(value, mask=mask), 3))
    assert first[0].tolist() == [[0, 0, 1, 0, 0]] * 3
    assert (first[1] == 0).all()
    first = array(layer.initial_state(layer.memory(value), 2))
    assert first.tolist() == [[[1, 0, 0, 0, 0]] * 2] * B


def test_masked_queries_do_not_change_the_state():
    query, value = data()
    layer, _ = build(query, value)
    mask = np.array([[1, 0, 1, 1]] * B, bool)
    _, attention = layer(query, value, query_mask=mask, return_attention_scores=True)
    _, expected = layer(query[:, [0, 2, 3]], value, return_attention_scores=True)
    attention = array(attention)
    assert (attention[:, 1] == 0).all()
    np.testing.assert_allclose(attention[:, [0, 2, 3]], array(expected), rtol=1e-5, atol=1e-6)


def test_noise_is_added_only_in_training_with_its_deviation():
    query, value = np.zeros((8, 1, U), "float32"), np.zeros((8, 500, D), "float32")
    layer = MonotonicAttention(U, sigmoid_noise=0.5, seed=3)
    quiet = layer(query, value, return_attention_scores=True)[1]
    np.testing.assert_allclose(array(quiet)[:, 0, :3], [[0.5, 0.25, 0.125]] * 8, rtol=1e-5)
    memory = layer.memory(value)
    p = array(layer.compute_probabilities(ops.convert_to_tensor(query), memory, None, True))
    logits = np.log(p / (1 - p))
    assert abs(logits.mean()) < 0.03 and abs(logits.std() - 0.5) < 0.03
    noisy = layer(query, value, training=True, return_attention_scores=True)[1]
    attended = layer.attend(query, memory, return_weights=True, training=True).weights
    for weights in (noisy, attended):
        assert (array(weights) != array(quiet)).any()


def test_initial_score_bias():
    query, value = np.zeros((B, 1, U), "float32"), np.zeros((B, S, D), "float32")
    layer = MonotonicAttention(U, score_bias_init=-4.0)
    layer.build(query.shape, value.shape)
    scores = array(layer.compute_scores(query, layer.memory(value)))
    np.testing.assert_allclose(scores, -4.0)


def test_trained_weights_in_hard_mode():
    query, value = data()
    trained, _ = build(query, value, mode="parallel")
    decoder = MonotonicAttention.from_config({**trained.get_config(), "mode": "hard"})
    decoder.build(query.shape, value.shape)
    decoder.set_weights(trained.get_weights())
    scores = array(trained.compute_scores(query, trained.memory(value)))
    attention = decoder(query, value, value_mask=MASK, return_attention_scores=True)[1]
    np.testing.assert_array_equal(array(attention), hard(scores))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"score_mode": "dot"}, "`score_mode` must be one of .* Received: score_mode='dot'"),
        ({"mode": "soft"}, "`mode` must be one of .* Received: mode='soft'"),
        ({"sigmoid_noise": -1.0}, "`sigmoid_noise` must .* Received: sigmoid_noise=-1.0"),
        ({"units": 0}, "`units` must be positive. Received: units=0"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MonotonicAttention(**{"units": U, **arguments})


def test_units_of_luong_must_be_the_width_of_the_query():
    query, value = data()
    with pytest.raises(ValueError, match=r"width of the query.*Received: units=5, query_shape="):
        MonotonicAttention(5, score_mode="luong")(query, value)
