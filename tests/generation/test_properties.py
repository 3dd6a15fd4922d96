"""Properties of strategies and logits processors under drawn shapes, options and logits.

`HYPOTHESIS_EXAMPLES=1000 pytest tests/generation/test_properties.py` draws more of them.
"""

import itertools
import os

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from helpers import array
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.generation.logits_processors import (
    MIN_LOG_PROB,
    SuppressTokens,
    Temperature,
    TopK,
    TopP,
    process_logits,
)
from keras_attention.ops.ids import END, PAD, START

is_jax = keras.backend.backend() == "jax"  # compiles every shape
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 5 if is_jax else 25))
# JAX takes rows of an empty array in another shape; `Generator` passes no empty batch to a strategy
MIN_BATCH = 1 if is_jax else 0
bounded = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)


class Decoder:
    """Logits and attention weights that depend on the row, the step and the last token."""

    def __init__(self, seed, batch, limit, vocabulary_size, source=3):
        rng = np.random.default_rng(seed)
        shape = (limit, batch, vocabulary_size, vocabulary_size)
        self.logits = rng.normal(size=shape).astype("float32") * 2
        self.weights = rng.random((limit, batch, vocabulary_size, source)).astype("float32")
        self.weights /= self.weights.sum(-1, keepdims=True)

    def step(self, ids, position, state):
        one_hot = ops.one_hot(ids, self.logits.shape[-1], dtype="float32")  # (B, K, V)
        tables = (ops.convert_to_tensor(x) for x in (self.logits, self.weights))
        logits, weights = (ops.matmul(one_hot, ops.take(x, position, axis=0)) for x in tables)
        return logits, state, weights

    def run(self, strategy, mask, **options):
        state = ops.zeros((len(mask), strategy.num_beams))
        outputs = strategy(self.step, state, mask, return_attention=True, options=options)
        return [array(x) for x in outputs]

    def rows(self, index):
        """The same decoder for some of the rows."""
        part = object.__new__(Decoder)
        part.logits, part.weights = self.logits[:, index], self.weights[:, index]
        return part

    def log_probs(self, row):
        logits = self.logits[:, row].astype("float64")
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@st.composite
def decoders(draw, max_limit=4, min_batch=MIN_BATCH):
    """A decoder, a source mask that may have rows that are fully masked, and options."""
    batch, limit = draw(st.integers(min_batch, 3)), draw(st.integers(1, max_limit))
    size = draw(st.integers(4, 7))
    decoder = Decoder(draw(st.integers(0, 99)), batch, limit, size)
    mask = np.array(draw(st.lists(st.booleans(), min_size=3 * batch, max_size=3 * batch)), bool)
    suppressed = draw(st.sets(st.integers(3, size - 1), max_size=size - 3))
    limits = {
        "max_new_tokens": limit,
        "length_ratio": draw(st.sampled_from([None, 0.4, 1.0, 5.0])),
        "suppress_tokens": sorted(suppressed),
        "force_end": draw(st.booleans()),
    }
    return decoder, mask.reshape(batch, 3), limits


STRATEGIES = st.one_of(
    st.just(GreedySearch()),
    st.builds(
        Sampling,
        temperature=st.sampled_from([0.0, 0.5, 1.0, 50.0]),
        top_k=st.sampled_from([None, 1, 2, 99]),
        top_p=st.sampled_from([None, 0.1, 0.9, 1.0]),
        seed=st.integers(-5, 5),
        num_return_sequences=st.integers(1, 3),
    ),
    st.builds(
        lambda num_beams, n, **options: BeamSearch(
            num_beams, num_return_sequences=min(n, num_beams), **options
        ),
        num_beams=st.integers(1, 2),
        n=st.integers(1, 2),
        length_penalty=st.sampled_from([0.0, 0.6, 2.0]),
        coverage_penalty=st.sampled_from([0.0, 0.3]),
        length_penalty_type=st.sampled_from(["gnmt", "power"]),
        early_stopping=st.sampled_from([True, False, "never"]),
        refill_beams=st.booleans(),
    ),
)


def limits_of_rows(mask, options, limit, ratio):
    limits = np.full(len(mask), limit)
    if "max_new_tokens" in options:
        limits = np.minimum(limits, options["max_new_tokens"])
    if ratio is not None:
        limits = np.minimum(limits, np.maximum(np.ceil(ratio * mask.sum(1)), 1))
    return limits.astype(int)


@pytest.mark.slow_on_tensorflow
@bounded
@given(decoders(), STRATEGIES, st.data())
def test_outputs_of_every_strategy(drawn, strategy, data):
    decoder, mask, limits = drawn
    batch, limit = len(mask), limits["max_new_tokens"]
    strategy = strategy.replace(**limits)
    options = {}
    if data.draw(st.booleans(), label="limits of rows"):
        each = st.lists(st.integers(1, limit), min_size=batch, max_size=batch)
        options["max_new_tokens"] = np.array(data.draw(each), "int32")
    ids, scores, attention = decoder.run(strategy, mask, **options)
    num_sequences = getattr(strategy, "num_return_sequences", strategy.num_beams)
    assert ids.shape == (batch, num_sequences, limit) and ids.dtype == "int32"
    assert scores.shape == (batch, num_sequences) and scores.dtype == "float32"
    assert attention.shape == (batch, num_sequences, limit, 3)
    assert not np.isnan(scores).any()

    row_limits = limits_of_rows(mask, options, limit, limits["length_ratio"])
    forbidden = {PAD, START, *limits["suppress_tokens"]}
    for row, n in itertools.product(range(batch), range(num_sequences)):
        sequence = [int(id) for id in ids[row, n]]
        if scores[row, n] <= MIN_LOG_PROB / 2:
            continue  # fewer sequences exist than are returned
        length = sequence.index(END) + 1 if END in sequence else row_limits[row]
        assert length <= row_limits[row]
        assert not forbidden & set(sequence[:length]) and not any(sequence[length:])
        if limits["force_end"]:
            assert sequence[length - 1] == END
        last = START
        for t, token in enumerate(sequence[:length]):
            expected = decoder.weights[t, row, last]
            np.testing.assert_allclose(attention[row, n, t], expected, rtol=1e-5)
            last = token
        assert not attention[row, n, length:].any()

    for row in range(batch):  # a row alone, with its own seed and limit
        alone_options = {name: value[[row]] for name, value in options.items()}
        if isinstance(strategy, Sampling):
            alone_options["seed"] = [strategy.seed + row]
        alone = decoder.rows([row]).run(strategy, mask[[row]], **alone_options)
        np.testing.assert_array_equal(alone[0][0], ids[row])
        np.testing.assert_allclose(alone[1][0], scores[row], rtol=1e-5)
        np.testing.assert_array_equal(alone[2][0], attention[row])


def all_hypotheses(log_probs, limit, suppressed, force_end):
    """Returns every complete hypothesis with its log-probability."""
    tokens = [id for id in range(2, log_probs.shape[-1]) if id not in suppressed]
    complete_hypotheses, prefixes = [], [((), 0.0)]
    for t in range(limit):
        extended = []
        for ids, log_p in prefixes:
            for token in tokens:
                gain = log_probs[t, ids[-1] if ids else START, token]
                if force_end and t == limit - 1:
                    if token != END:
                        continue
                    gain = 0.0
                extended.append(((*ids, token), log_p + gain))
        is_complete = [ids[-1] == END or t == limit - 1 for ids, _ in extended]
        complete_hypotheses += [
            each for each, complete in zip(extended, is_complete, strict=True) if complete
        ]
        prefixes = [
            each for each, complete in zip(extended, is_complete, strict=True) if not complete
        ]
    return complete_hypotheses


@bounded
@given(
    decoders(max_limit=2, min_batch=1),
    st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    st.sampled_from(["gnmt", "power"]),
    st.booleans(),
    st.data(),
)
def test_a_beam_of_all_prefixes_finds_the_best_of_all_hypotheses(
    drawn, penalty, kind, refill_beams, data
):
    """An exhaustive search over a tiny vocabulary, by the formula of the scores alone."""
    decoder, mask, limits = drawn
    limits["length_ratio"] = None
    num_beams = decoder.logits.shape[-1] - 2
    n = data.draw(st.integers(1, num_beams), label="num_return_sequences")
    strategy = BeamSearch(
        num_beams, penalty, num_return_sequences=n, length_penalty_type=kind,
        refill_beams=refill_beams, **limits,
    )  # fmt: skip
    ids, scores, _ = decoder.run(strategy, mask)
    for row in range(len(mask)):
        hypotheses = all_hypotheses(
            decoder.log_probs(row), limits["max_new_tokens"], limits["suppress_tokens"],
            limits["force_end"],
        )  # fmt: skip

        def score(hypothesis):
            length = len(hypothesis[0])
            base = (5 + length) / 6 if kind == "gnmt" else length
            return hypothesis[1] / base**penalty

        best = sorted(hypotheses, key=score, reverse=True)[:n]
        received = [tuple(int(id) for id in sequence if id) for sequence in ids[row]]
        assert received[: len(best)] == [ids for ids, _ in best]
        np.testing.assert_allclose(scores[row, : len(best)], list(map(score, best)), rtol=1e-4)
        assert (scores[row, len(best) :] == MIN_LOG_PROB).all()


# Logits with many ties
LOGITS = st.lists(st.integers(-3, 3).map(lambda n: n / 2), min_size=4, max_size=9)


def process(logits, *processors, **options):
    tensor = ops.convert_to_tensor(np.array(logits, "float32")[None, None])
    options = {name: ops.convert_to_tensor([[x]]) for name, x in options.items()}
    return array(process_logits(tensor, processors, 0, options))[0, 0]


def remaining(logits):
    return set(np.flatnonzero(logits > MIN_LOG_PROB / 2).tolist())


@bounded
@given(LOGITS, st.integers(1, 12), st.floats(0.001, 1.0))
def test_top_k_and_top_p_keep_the_fewest_most_probable_tokens(logits, k, p):
    order = np.argsort(-np.array(logits), kind="stable")  # of equal ones, the first
    assert remaining(process(logits, TopK(k))) == set(order[:k].tolist())
    probabilities = np.exp(np.array(logits, "float64"))[order]
    probabilities /= probabilities.sum()
    count = next(n for n in range(1, len(logits) + 1) if probabilities[:n].sum() >= p - 1e-6)
    reached = probabilities[:count].sum()
    if count == 1 or min(abs(reached - p), abs(reached - probabilities[count - 1] - p)) > 2e-6:
        assert remaining(process(logits, TopP(p))) == set(order[:count].tolist())
    both = remaining(process(logits, TopK(k), TopP(p)))
    assert both and both <= set(order[:k].tolist())


@bounded
@given(LOGITS, st.floats(1e-6, 1e6), st.integers(0, 3))
def test_temperature_keeps_the_order_and_the_impossible_tokens(logits, temperature, suppressed):
    processed = process(
        logits, SuppressTokens([suppressed]), Temperature(), temperature=temperature
    )
    assert np.isfinite(processed).all()
    rest = np.delete(np.array(logits, "float64"), suppressed)
    assert processed[suppressed] == MIN_LOG_PROB
    expected = np.maximum((rest - rest.max()) / temperature, MIN_LOG_PROB / 4)
    np.testing.assert_allclose(np.delete(processed, suppressed), expected, rtol=1e-5)
