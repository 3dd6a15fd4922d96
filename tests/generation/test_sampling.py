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


def draw(n=4000, **options):
    """Returns the first tokens of `n` samples from `LOGITS`, and their scores."""
    strategy = Sampling(num_return_sequences=n, max_new_tokens=1, **options)

    def step(ids, position, state):
        logits = ops.broadcast_to(ops.convert_to_tensor(LOGITS), (1, n, V))
        return logits, state, ops.zeros((1, n, 1))

    outputs = strategy(step, {"h": ops.zeros((1, n, 1))}, np.ones((1, 1), bool))
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
        ({"temperature": 0.0}, "`temperature` must be .* Received: temperature=0.0"),
        ({"top_k": 0}, "`top_k` must be .* Received: top_k=0"),
        ({"num_return_sequences": 0}, "must be positive. Received: num_return_sequences=0"),
        ({"top_p": 0.0}, "`top_p` must be .* Received: top_p=0.0"),
        ({"top_p": 1.5}, "`top_p` must be .* Received: top_p=1.5"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)
