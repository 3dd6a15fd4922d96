"""Luong's scores and windows against equations 7 to 10 of the paper, in float64."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import LuongAttention

B, T, S, Q, D = 2, 4, 6, 5, 5
LENGTHS = (4, 6)
MASK = np.arange(S) < np.array(LENGTHS)[:, None]


def data(width=D):
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(B, T, Q)), rng.normal(size=(B, S, width))
    return query.astype("float32"), value.astype("float32")


def build(query, value, **kwargs):
    """Returns a layer with random weights, and the weights by name in float64."""
    layer = LuongAttention(**kwargs)
    layer.build(query.shape, value.shape)
    rng = np.random.default_rng(1)
    weights = {}
    for weight in layer.weights:
        name = weight.path.removeprefix(f"{layer.name}/")
        weights[name] = rng.normal(size=weight.shape)
        weight.assign(weights[name])
    return layer, weights


def each_pair(score, query, value):
    """Applies score(h_t, h_s) to every query and key."""
    scores = np.zeros((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        scores[b, t, s] = score(query[b, t].astype("float64"), value[b, s].astype("float64"))
    return scores


def softmax(scores, mask):
    exponentials = np.exp(scores) * mask
    total = exponentials.sum(-1, keepdims=True)
    return np.divide(exponentials, total, out=np.zeros_like(scores), where=total > 0)


def check(layer, query, value, scores, expected):
    output, weights = layer(query, value, value_mask=MASK, return_attention_scores=True)
    computed = layer.compute_scores(query, layer.memory(value))
    for result, expected_result in (
        (computed, scores),
        (weights, expected),
        (output, expected @ value),
    ):
        np.testing.assert_allclose(array(result), expected_result, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [False, True])
def test_dot(scale):
    query, value = data()
    layer, weights = build(query, value, score_mode="dot", scale=scale)
    scores = each_pair(lambda h_t, h_s: h_t @ h_s, query, value) * weights.get("g", 1)
    check(layer, query, value, scores, softmax(scores, MASK[:, None]))


@pytest.mark.parametrize("scale", [False, True])
def test_general_matches_tfa(scale):
    """g h_t . (W_a h_s); W_a is the memory layer of tfa.seq2seq."""
    query, value = data(width=3)
    layer, weights = build(query, value, score_mode="general", scale=scale)
    w_a = weights["key/kernel"].T
    scores = each_pair(lambda h_t, h_s: h_t @ w_a @ h_s, query, value) * weights.get("g", 1)
    check(layer, query, value, scores, softmax(scores, MASK[:, None]))


@pytest.mark.parametrize("units", [None, 7])
def test_concat(units):
    query, value = data(width=3)
    layer, weights = build(query, value, score_mode="concat", units=units)
    w_a = np.concatenate([weights["query/kernel"], weights["key/kernel"]]).T
    assert w_a.shape == (units or Q, Q + 3)
    scores = each_pair(
        lambda h_t, h_s: weights["v"] @ np.tanh(w_a @ np.concatenate([h_t, h_s])), query, value
    )
    check(layer, query, value, scores, softmax(scores, MASK[:, None]))


@pytest.mark.parametrize("max_length", [3, S, 9])
def test_location_ignores_keys_beyond_max_length(max_length):
    query, value = data(width=3)
    layer, weights = build(query, value, score_mode="location", max_length=max_length)
    scores = np.zeros((B, T, S))
    covered = min(S, max_length)
    for b, t in np.ndindex(B, T):
        scores[b, t, :covered] = (weights["kernel"].T @ query[b, t])[:covered]
    within = MASK[:, None] & (np.arange(S) < max_length)
    check(layer, query, value, scores, softmax(scores, within))


@pytest.mark.parametrize("width", [1, 2])
def test_local_m_is_a_window_around_the_query_position(width):
    query, value = data()
    layer, _ = build(query, value, window="local-m", window_width=width)
    scores = each_pair(lambda h_t, h_s: h_t @ h_s, query, value)
    s, t = np.arange(S), np.arange(T)[:, None]
    window = MASK[:, None] & (np.abs(s - t) <= width)
    check(layer, query, value, scores, softmax(scores, window))


def test_local_m_beyond_the_source_gives_zeros():
    query, value = data()
    layer, _ = build(query, value, window="local-m", window_width=1)
    memory = layer.memory(value, mask=MASK)
    context, weights, _ = layer.attend(query[:, :1], memory, positions=5, return_weights=True)
    assert (array(weights)[0] == 0).all()
    assert (array(context)[0] == 0).all()
    np.testing.assert_allclose(array(weights)[1].sum(), 1, rtol=1e-5)


def test_local_m_takes_a_position_per_query():
    query, value = data()
    layer, _ = build(query, value, window="local-m", window_width=1)
    memory = layer.memory(value, mask=MASK)
    expected = array(layer.attend(query, memory, return_weights=True).weights)
    order = np.array([3, 1, 0, 2], "int32")
    shuffled = layer.attend(
        query[:, order], memory, positions=ops.convert_to_tensor(order), return_weights=True
    ).weights
    np.testing.assert_allclose(array(shuffled), expected[:, order], atol=1e-6)


@pytest.mark.parametrize("score", ["dot", "general", "concat"])
def test_local_p_predicts_the_center_from_the_unpadded_length(score):
    """Equations 9 and 10, with S the length without padding, D = 2 and sigma = D / 2."""
    query, value = data()
    layer, weights = build(query, value, score_mode=score, window="local-p", window_width=2)
    scores = array(layer.compute_scores(query, layer.memory(value)))  # tested above
    w_p, v_p = weights["window_kernel"].T, weights["window_v"]
    p = np.zeros((B, T, 1))
    for b, t in np.ndindex(B, T):
        p[b, t] = LENGTHS[b] / (1 + np.exp(-v_p @ np.tanh(w_p @ query[b, t])))
    s = np.arange(S)
    weights_p = softmax(scores.astype("float64"), MASK[:, None] & (np.abs(s - p) <= 2))
    check(layer, query, value, scores, weights_p * np.exp(-((s - p) ** 2) / (2 * 1.0**2)))


def test_local_p_learns_the_center():
    """Gradients reach W_p and v_p through the Gaussian."""
    query, value = data()
    inputs = keras.Input((T, Q)), keras.Input((S, D))
    layer = LuongAttention(window="local-p", window_width=2)
    model = keras.Model(inputs, layer(*inputs))
    before = [array(w).copy() for w in (layer.window_kernel, layer.window_v)]
    model.compile("sgd", "mse")
    model.fit([query, value], np.ones((B, T, D)), verbose=0)
    for old, new in zip(before, (layer.window_kernel, layer.window_v), strict=True):
        assert (array(new) != old).any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"score_mode": "dots"}, "`score_mode` must be one of .* Received: score_mode='dots'"),
        ({"window": "local"}, "`window` must be one of .* Received: window='local'"),
        (
            {"score_mode": "dot", "units": 3},
            "`units` must be None .* Received: score_mode='dot', units=3",
        ),
        ({"score_mode": "concat", "units": 0}, "`units` must be positive. Received: units=0"),
        (
            {"score_mode": "location"},
            "`max_length` must .* Received: score_mode='location', max_length=None",
        ),
        ({"max_length": 4}, "`max_length` must .* Received: score_mode='dot', max_length=4"),
        (
            {"score_mode": "location", "max_length": 0},
            "`max_length` must be positive. Received: .*=0",
        ),
        ({"window": "local-m", "window_width": 0}, "`window_width` must .* Received: .*=0"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LuongAttention(**arguments)


def test_dot_requires_the_same_width():
    query, value = data(width=3)
    with pytest.raises(ValueError, match=r"same width.*Received: .*\(2, 4, 5\).*\(2, 6, 3\)"):
        LuongAttention("dot")(query, value)
