"""Greedy against a plain loop; samples against the distribution that they are drawn from."""

import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.generation import GreedySearch, Sampling
from keras_attention.generation.greedy_search import keep_top_k, keep_top_p
from keras_attention.models import seq2seq
from keras_attention.ops.ids import END, PAD, START
from keras_attention.ops.noise import gumbel

SOURCE = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2], [2, 0, 0, 0, 0]])
V = 12


def make(**options):
    model = seq2seq(11, V, embedding_dim=8, units=8, **options)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(rng.normal(size=weight.shape) * 0.7)
    return model


def one_by_one(model, source, length):
    """Greedy by calling the whole model again for each token."""
    ids, total = [1], 0.0
    while len(ids) <= length and ids[-1] != 2:
        inputs = {"source": source[None], "target": np.array([ids])}
        logits = array(model(inputs))[0, -1].astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum())
        ids.append(2 + int(log_probs[2:].argmax()))
        total += log_probs[ids[-1]]
    return ids[1:], total


@pytest.mark.parametrize("options", [{}, {"attention": "luong", "input_feeding": True}])
def test_greedy_is_the_plain_loop(options):
    model = make(**options)
    found = model.generate(SOURCE, GreedySearch(max_new_tokens=5), attention=True)
    assert found.ids.shape == (3, 1, 5) and found.attention.shape == (3, 1, 5, 5)
    for source, ids, score in zip(SOURCE, found.ids[:, 0], found.scores[:, 0], strict=True):
        expected, total = one_by_one(model, source, 5)
        assert ids[: len(expected)].tolist() == expected and not ids[len(expected) :].any()
        np.testing.assert_allclose(score, total, rtol=1e-4)


# Samples

LOGITS = np.random.default_rng(0).normal(size=V).astype("float32")


def draw(n=4000, **options):
    """First tokens of `n` samples of one distribution."""
    made = Sampling(num_return_sequences=n, max_new_tokens=1, **options)
    step = lambda ids, t, state: (  # noqa: E731
        ops.broadcast_to(ops.convert_to_tensor(LOGITS), (1, n, V)), state, ops.zeros((1, n, 1))
    )  # fmt: skip
    found = made(step, {"h": ops.zeros((1, n, 1))}, np.ones((1, 1), bool))
    return array(found.ids)[0, :, 0], array(found.scores)[0]


def distribution(temperature=1.0, kept=None):
    p = np.exp(LOGITS.astype("float64") / temperature)
    p[:2] = 0
    if kept is not None:
        p[~np.isin(np.arange(V), kept)] = 0
    return p / p.sum()


def assert_drawn_from(ids, p):
    counts = np.bincount(ids, minlength=V)
    assert not counts[p == 0].any()
    counts, expected = counts[p > 0], p[p > 0] * len(ids)
    freedom = len(expected) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_have_the_models_distribution(seed, temperature):
    ids, scores = draw(seed=seed, temperature=temperature)
    assert_drawn_from(ids, distribution(temperature))
    log_probs = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum())
    np.testing.assert_allclose(scores, log_probs[ids], rtol=1e-4)  # the model's, not tempered


def test_top_k_and_top_p_cut_the_tail():
    order = [i for i in np.argsort(-LOGITS) if i > 1]
    assert_drawn_from(draw(top_k=3)[0], distribution(kept=order[:3]))
    assert (draw(100, top_k=1)[0] == order[0]).all()
    probs = np.exp(LOGITS) / np.exp(LOGITS).sum()
    probs[:2] = 0  # PAD and START hold no share, and what is left is shared among the rest
    probs = probs / probs.sum()
    needed = 1 + int((np.cumsum(probs[order]) < 0.6).sum())
    assert 1 < needed < len(order)
    assert_drawn_from(draw(top_p=0.6)[0], distribution(kept=order[:needed]))
    assert_drawn_from(draw(top_p=1.0, top_k=V + 5)[0], distribution())
    assert (draw(100, temperature=1e-3)[0] == order[0]).all()


def test_cuts_on_logits():
    logits = ops.convert_to_tensor(np.log([[0.1, 0.5, 0.15, 0.25]]), "float32")
    kept = lambda x: (array(x)[0] > -1e8).tolist()  # noqa: E731
    assert kept(keep_top_k(logits, 2)) == [False, True, False, True]
    assert kept(keep_top_k(logits, 9)) == [True] * 4
    assert kept(keep_top_p(logits, 0.4)) == [False, True, False, False]
    assert kept(keep_top_p(logits, 0.7)) == [False, True, False, True]
    assert kept(keep_top_p(logits, 0.8)) == [False, True, True, True]
    assert kept(keep_top_p(logits, 1.0)) == [True] * 4


@pytest.mark.parametrize("options", [{}, {"seed": [70, -3], "temperature": [0.5, 2.0]}])
def test_samples_are_the_plain_draws_on_every_backend(options):
    """Row by row, each with its own seed: the strategy's and its place, or the one given."""
    table = np.random.default_rng(5).normal(size=(V, V)).astype("float32")
    step = lambda ids, t, state: (  # noqa: E731
        ops.take(ops.convert_to_tensor(table), ids, axis=0), state, ops.zeros((2, 2, 1))
    )  # fmt: skip
    state, mask = {"h": ops.zeros((2, 2, 1))}, np.ones((2, 1), bool)
    found = Sampling(seed=7, num_return_sequences=2, max_new_tokens=8)(
        step, state, mask, options=options
    )
    for row in range(2):
        seed = options.get("seed", [7, 8])[row]
        temperature = options.get("temperature", [1.0, 1.0])[row]
        last, expected = np.array([START, START]), []
        for t in range(8):  # a token, and padding after the last
            noise = array(gumbel(np.array([seed], "int32"), t, (1, 2, V)))[0]
            log_probs = np.log(np.exp(table[last]) / np.exp(table[last]).sum(-1, keepdims=True))
            log_probs[:, [PAD, START]] = -1e9
            token = (log_probs / temperature + noise).argmax(-1)
            last = np.where(np.isin(last, [PAD, END]) & (t > 0), PAD, token)
            expected.append(last)
        np.testing.assert_array_equal(array(found.ids)[row], np.array(expected).T)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": 0.0}, "temperature: .* Received: temperature=0.0"),
        ({"top_k": 0}, "top_k: .* Received: top_k=0"),
        ({"num_return_sequences": 0}, "num_return_sequences: .* Received: num_return_sequences=0"),
        ({"top_p": 0.0}, "top_p: .* Received: top_p=0.0"),
        ({"top_p": 1.5}, "top_p: .* Received: top_p=1.5"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)
