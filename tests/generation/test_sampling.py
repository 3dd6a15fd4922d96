"""Samples compared with the distribution that they are drawn from."""

import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.generation import Sampling
from keras_attention.ops.ids import END, PAD, START
from keras_attention.ops.noise import gumbel

V = 12
LOGITS = np.random.default_rng(0).normal(size=V).astype("float32")


def draw(n=4000, logits=LOGITS, request=None, **options):
    """Returns the first tokens of `n` samples from the logits, and their scores."""
    size = len(logits)
    strategy = Sampling(num_return_sequences=n, max_new_tokens=1, **options)

    def step(ids, position, state):
        step_logits = ops.broadcast_to(ops.convert_to_tensor(logits), (1, n, size))
        return step_logits, state, ops.zeros((1, n, 1))

    state, mask = {"h": ops.zeros((1, n, 1))}, np.ones((1, 1), bool)
    outputs = strategy(step, state, mask, options=request)
    return array(outputs.ids)[0, :, 0], array(outputs.scores)[0]


def distribution(temperature=1.0, allowed=None):
    p = np.exp(LOGITS.astype("float64") / temperature)
    p[:2] = 0  # PAD and START
    if allowed is not None:
        p[~np.isin(np.arange(V), allowed)] = 0
    return p / p.sum()


def assert_drawn_from(ids, p):
    """Chi-squared test."""
    counts = np.bincount(ids, minlength=V)
    assert not counts[p == 0].any()
    counts, expected = counts[p > 0], p[p > 0] * len(ids)
    degrees = len(expected) - 1
    assert ((counts - expected) ** 2 / expected).sum() < degrees + 4 * np.sqrt(2 * degrees)


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_distribution(seed, temperature):
    ids, scores = draw(seed=seed, temperature=temperature)
    assert_drawn_from(ids, distribution(temperature))
    log_probs = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum())
    np.testing.assert_allclose(scores, log_probs[ids], rtol=1e-4)  # without the temperature


def test_top_k_and_top_p_remove_improbable_tokens():
    order = [i for i in np.argsort(-LOGITS) if i > 1]
    assert_drawn_from(draw(top_k=3)[0], distribution(allowed=order[:3]))
    assert (draw(100, top_k=1)[0] == order[0]).all()
    probs = np.exp(LOGITS) / np.exp(LOGITS).sum()
    probs[:2] = 0  # top-p is applied after PAD and START were removed
    probs = probs / probs.sum()
    size = 1 + int((np.cumsum(probs[order]) < 0.6).sum())
    assert 1 < size < len(order)
    assert_drawn_from(draw(top_p=0.6)[0], distribution(allowed=order[:size]))
    assert_drawn_from(draw(top_p=1.0, top_k=V + 5)[0], distribution())
    assert (draw(100, temperature=1e-3)[0] == order[0]).all()


@pytest.mark.parametrize(
    "probabilities, options, expected",
    [
        ([0.4, 0.3, 0.3], {"top_k": 2}, [4, 5]),
        ([0.25] * 4, {"top_k": 3}, [4, 5, 6]),
        ([0.25] * 4, {"top_p": 0.5}, [4, 5]),
        ([0.1] * 10, {"top_p": 0.3}, [4, 5, 6]),
        ([0.2, 0.4, 0.2, 0.2], {"top_p": 0.6}, [4, 5]),
        ([0.25] * 4, {"top_p": 1e-9}, [4]),
    ],
)
def test_of_equally_probable_tokens_the_first_are_kept(probabilities, options, expected):
    logits = np.full(4 + len(probabilities), -60.0, "float32")
    logits[4:] = np.log(probabilities)
    ids, _ = draw(400, logits, **options)
    assert sorted(set(ids.tolist())) == expected


LOGITS_WITH_A_TIE = np.array([9.0, 9.0, 0.0, 2.0, 3.0, 3.0, 1.0], "float32")


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1e-7])
def test_temperature_0_is_greedy_search(temperature):
    """Also with ties, as an option of a request, and together with top-k and top-p."""
    for options in ({}, {"top_k": 3}, {"top_p": 0.9}, {"top_k": 2, "top_p": 0.1}):
        ids, scores = draw(50, LOGITS_WITH_A_TIE, temperature=temperature, **options)
        assert (ids == 4).all()  # the first of the most probable ones
        log_prob = LOGITS_WITH_A_TIE - np.log(np.exp(LOGITS_WITH_A_TIE).sum())
        np.testing.assert_allclose(scores, log_prob[4], rtol=1e-5)
        request = {"temperature": np.array([temperature], "float32")}
        ids, _ = draw(50, LOGITS_WITH_A_TIE, request, **options)
        assert (ids == 4).all()


@pytest.mark.parametrize(
    "temperature, expected",
    [(np.nan, {4}), (-1.0, {4}), (-np.inf, {4}), (np.inf, set(range(2, 7))), (1e-5, {4, 5})],
)
def test_temperatures_of_tensors_are_clipped(temperature, expected):
    """As in an exported graph, which cannot raise. PAD and START stay impossible."""
    request = {"temperature": ops.convert_to_tensor([temperature], "float32")}
    ids, scores = draw(500, LOGITS_WITH_A_TIE, request)
    assert set(ids.tolist()) == expected
    assert (scores > -20).all()


@pytest.mark.parametrize("options", [{}, {"seed": [70, -3], "temperature": [0.5, 2.0]}])
def test_samples_equal_plain_draws_on_every_backend(options):
    """Each row has its own seed: the strategy's plus the row's index, or an option."""
    table = np.random.default_rng(5).normal(size=(V, V)).astype("float32")

    def step(ids, position, state):
        logits = ops.take(ops.convert_to_tensor(table), ids, axis=0)
        return logits, state, ops.zeros((2, 2, 1))

    state, mask = {"h": ops.zeros((2, 2, 1))}, np.ones((2, 1), bool)
    strategy = Sampling(seed=7, num_return_sequences=2, max_new_tokens=8)
    outputs = strategy(step, state, mask, options=options)
    for row in range(2):
        seed = options.get("seed", [7, 8])[row]
        temperature = options.get("temperature", [1.0, 1.0])[row]
        last, expected = np.array([START, START]), []
        for t in range(8):  # tokens up to END, then padding
            noise = array(gumbel(np.array([seed], "int32"), t, (1, 2, V)))[0]
            log_probs = np.log(np.exp(table[last]) / np.exp(table[last]).sum(-1, keepdims=True))
            log_probs[:, [PAD, START]] = -1e9
            token = (log_probs / temperature + noise).argmax(-1)
            last = np.where(np.isin(last, [PAD, END]) & (t > 0), PAD, token)
            expected.append(last)
        np.testing.assert_array_equal(array(outputs.ids)[row], np.array(expected).T)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": -0.5}, "`temperature` must be .* Received: temperature=-0.5"),
        ({"temperature": float("nan")}, "`temperature` must be .* Received: temperature=nan"),
        ({"temperature": float("inf")}, "`temperature` must be .* Received: temperature=inf"),
        ({"top_k": 0}, "`top_k` must be .* Received: top_k=0"),
        ({"num_return_sequences": 0}, "must be positive. Received: num_return_sequences=0"),
        ({"top_p": 0.0}, "`top_p` must be .* Received: top_p=0.0"),
        ({"top_p": 1.5}, "`top_p` must be .* Received: top_p=1.5"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)
