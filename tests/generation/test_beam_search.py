"""Beam search compared with exhaustive and plain searches in NumPy."""

import itertools

import numpy as np
import pytest
from keras import ops

from helpers import array, seeds
from keras_attention.generation import BeamSearch, GreedySearch

V, S = 6, 3
TOKENS = range(2, V)  # the tokens that can be generated: END, 3, 4 and 5
MASK = np.array([[1, 1, 1], [1, 1, 0]], bool)


class Table:
    """Decoder whose outputs are tables, indexed by the step, the source and the last token."""

    def __init__(self, seed, length, end=0.0):
        rng = np.random.default_rng(seed)
        self.logits = rng.normal(size=(length, 2, V, V)).astype("float32") * 1.5
        self.logits[..., 2] += end
        attention = rng.random(size=(length, 2, V, S)).astype("float32") ** 4 * MASK[:, None]
        self.attention = attention / attention.sum(-1, keepdims=True)

    def step(self, ids, t, state):
        one_hot = ops.one_hot(ids, V, dtype="float32")  # (B, K, V)
        now = [ops.take(ops.convert_to_tensor(x), t, axis=0) for x in (self.logits, self.attention)]
        logits, weights = (ops.matmul(one_hot, x) for x in now)
        # The state is the sum of the last tokens, which tells whether it is reordered with beams.
        return logits, {"sum": state["sum"] + ops.cast(ids, "float32")}, weights

    def run(self, strategy, return_attention=False, **options):
        state = {"sum": ops.zeros((2, strategy.num_beams), "float32")}
        return strategy(self.step, state, MASK, return_attention=return_attention, options=options)

    def search(self, row, limit, alpha, beta):
        """Returns every hypothesis with its score (Wu et al. 2016, eq. 14), best first."""
        logits = self.logits[:, row].astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        hypotheses = []
        for length in range(1, limit + 1):
            for ids in itertools.product(TOKENS, repeat=length):
                if 2 in ids[:-1] or (length < limit and ids[-1] != 2):
                    continue
                inputs = (1, *ids[:-1])
                log_p = sum(log_probs[t, last, now] for t, (last, now) in
                            enumerate(zip(inputs, ids, strict=True)))  # fmt: skip
                coverage = sum(self.attention[t, row, last] for t, last in enumerate(inputs))
                coverage = np.log(np.clip(coverage[MASK[row]], 2e-9, 1.0)).sum()
                score = log_p / ((5 + length) / 6) ** alpha + beta * coverage
                hypotheses.append((score, ids))
        return sorted(hypotheses, reverse=True)


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_beam_of_all_first_tokens_finds_the_best_hypothesis(seed, alpha):
    table = Table(seed, length=2)
    outputs = table.run(BeamSearch(len(TOKENS), alpha, max_new_tokens=2))
    for row in range(2):
        score, ids = table.search(row, 2, alpha, 0.0)[0]
        assert tuple(i for i in array(outputs.ids)[row, 0] if i) == ids
        np.testing.assert_allclose(array(outputs.scores)[row, 0], score, rtol=1e-4)


def search_without_stopping(table, row, limit, num_beams, alpha, beta):
    """Returns all finished hypotheses of a plain beam search that runs to the limit."""
    all_scores = {ids: score for score, ids in table.search(row, limit, alpha, beta)}
    logits = table.logits[:, row].astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    alive, finished = [(0.0, ())], []
    for t in range(limit):
        candidates = [
            (log_p + log_probs[t, ids[-1] if ids else 1, token], (*ids, token))
            for log_p, ids in alive
            for token in TOKENS
        ]
        candidates = sorted(candidates, reverse=True)[:num_beams]
        finished += [(all_scores[ids], ids) for _, ids in candidates if ids in all_scores]
        alive = [(log_p, ids) for log_p, ids in candidates if ids not in all_scores]
    return sorted(finished, reverse=True)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("seed", seeds(4))
@pytest.mark.parametrize("num_beams", [1, 2, 3, 4])
@pytest.mark.parametrize("alpha, beta", [(0.0, 0.0), (0.6, 0.0), (1.0, 0.5)])
def test_early_stopping_never_loses_the_best_hypotheses(seed, num_beams, alpha, beta):
    limit = 4
    table = Table(seed, limit, end=0.5)
    for n in {1, num_beams}:
        strategy = BeamSearch(num_beams, alpha, beta, num_return_sequences=n, max_new_tokens=limit)
        outputs = table.run(strategy)
        for row in range(2):
            expected = search_without_stopping(table, row, limit, num_beams, alpha, beta)[:n]
            got = [tuple(int(i) for i in ids if i) for ids in array(outputs.ids)[row]]
            scores = [score for score, _ in expected]
            assert got == [ids for _, ids in expected]
            np.testing.assert_allclose(array(outputs.scores)[row], scores, rtol=1e-4)


@pytest.mark.parametrize("seed", seeds(5))
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_one_beam_is_greedy_search(seed, penalty):
    table = Table(seed, 6)
    beam = table.run(BeamSearch(1, penalty, max_new_tokens=6), return_attention=True)
    greedy = table.run(GreedySearch(max_new_tokens=6), return_attention=True)
    np.testing.assert_array_equal(array(beam.ids), array(greedy.ids))
    np.testing.assert_allclose(array(beam.attention), array(greedy.attention), rtol=1e-5)
    lengths = (array(greedy.ids) > 0).sum(-1)
    np.testing.assert_allclose(
        array(beam.scores), array(greedy.scores) / ((5 + lengths) / 6) ** penalty, rtol=1e-5
    )


@pytest.mark.parametrize("seed", seeds(3))
def test_sequences_are_sorted_and_distinct_with_their_own_attention(seed):
    table = Table(seed, 5)
    outputs = table.run(
        BeamSearch(4, num_return_sequences=4, max_new_tokens=5), return_attention=True
    )
    scores, ids = array(outputs.scores), array(outputs.ids)
    assert (np.diff(scores, axis=1) <= 0).all() and (scores > -1e8).all()
    for row in range(2):
        assert len({tuple(sequence) for sequence in ids[row]}) == 4
        for sequence, weights in zip(ids[row], array(outputs.attention)[row], strict=True):
            length, last = (sequence > 0).sum(), 1
            for t in range(length):
                np.testing.assert_allclose(weights[t], table.attention[t, row, last], rtol=1e-5)
                last = sequence[t]
            assert not weights[length:].any()


def test_search_stops_when_no_hypothesis_can_improve(steps):
    """END is nearly certain at the first step, so no longer hypothesis can improve on it."""
    table = Table(0, 30)
    table.logits[0, :, :, 2] = 12.0
    outputs = table.run(BeamSearch(4, length_penalty=0.6, max_new_tokens=30))
    assert steps == [1]
    assert array(outputs.ids)[:, 0, :2].tolist() == [[2, 0], [2, 0]]


def test_search_continues_while_a_hypothesis_can_improve(steps):
    """With a strong length penalty, a longer hypothesis of lower probability scores best."""
    table = Table(0, 4)
    table.logits[:] = -20.0
    table.logits[0, :, 1, 2], table.logits[0, :, 1, 4] = 0.0, -0.1  # END now, or 4
    table.logits[1, :, 4, 5] = table.logits[2, :, 5, 2] = 20.0  # 4 is followed by 5, END
    outputs = table.run(BeamSearch(2, length_penalty=1.0, max_new_tokens=4))
    assert array(outputs.ids)[:, 0].tolist() == [[4, 5, 2, 0]] * 2
    assert steps == [3]
    log_p = -0.1 - np.log(1 + np.exp(-0.1))
    np.testing.assert_allclose(array(outputs.scores)[:, 0], log_p / (8 / 6), rtol=1e-4)
    outputs = table.run(BeamSearch(2, length_penalty=0.0, max_new_tokens=4))
    assert array(outputs.ids)[:, 0].tolist() == [[2, 0, 0, 0]] * 2
    assert steps == [3, 1]


def test_finished_hypotheses_do_not_change():
    """A higher limit does not change a hypothesis that ended before the lower one."""
    table = Table(1, 12, end=1.0)
    short, long = (
        table.run(BeamSearch(3, 0.0, max_new_tokens=n, num_return_sequences=1)) for n in (6, 12)
    )
    ended = (array(short.ids)[:, 0] == 2).any(-1)
    assert ended.any()
    np.testing.assert_array_equal(array(long.ids)[ended, :, :6], array(short.ids)[ended])
    assert not array(long.ids)[ended, :, 6:].any()
    np.testing.assert_array_equal(array(long.scores)[ended], array(short.scores)[ended])


def test_more_beams_than_the_vocabulary_raise():
    table = Table(0, 3)
    with pytest.raises(ValueError, match="`num_beams` .* Received: num_beams=5, vocabulary_size=6"):
        table.run(BeamSearch(5, max_new_tokens=3))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_beams": 0}, "Received: num_return_sequences=1, num_beams=0"),
        (
            {"num_beams": 2, "num_return_sequences": 3},
            "`num_return_sequences` must .* Received: num_return_sequences=3, num_beams=2",
        ),
        (
            {"num_return_sequences": 0},
            "`num_return_sequences` must .* Received: num_return_sequences=0",
        ),
        ({"length_penalty": -1.0}, "Received: length_penalty=-1.0"),
        ({"coverage_penalty": -1.0}, "coverage_penalty=-1.0"),
        ({"length_penalty_type": "mean"}, "`length_penalty_type` .* Received: .*='mean'"),
        ({"early_stopping": "often"}, "`early_stopping` .* Received: early_stopping='often'"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        BeamSearch(**options)


def refilled(num_beams, length_penalty=1.0, early_stopping=False, **options):
    """The search of transformers."""
    return BeamSearch(
        num_beams, length_penalty, length_penalty_type="power", early_stopping=early_stopping,
        refill_beams=True, **options
    )  # fmt: skip


def search_with_refilled_beams(table, row, limit, num_beams, penalty, early_stopping):
    """Returns the finished hypotheses of a plain search, as pairs of score and ids."""
    logits = table.logits[:, row].astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    alive, finished = [(0.0, ())], []
    for length in range(1, limit + 1):
        candidates = [
            (log_p + log_probs[length - 1, ids[-1] if ids else 1, token], (*ids, token))
            for log_p, ids in alive
            for token in TOKENS
        ]
        candidates = sorted(candidates, reverse=True)[: 2 * num_beams]
        is_complete = [ids[-1] == 2 or length == limit for _, ids in candidates]
        pairs = list(zip(candidates, is_complete, strict=True))
        finished += [
            (log_p / length**penalty, ids)
            for (log_p, ids), complete in pairs[:num_beams]
            if complete
        ]
        finished = sorted(finished, reverse=True)[:num_beams]
        alive = [candidate for candidate, complete in pairs if not complete][:num_beams]
        if len(finished) == num_beams and alive:
            best = alive[0][0] / (limit if early_stopping == "never" else length) ** penalty
            if early_stopping is True or best <= finished[-1][0]:
                break
    return finished


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize(
    "penalty, early_stopping", [(0.0, False), (1.0, False), (2.0, "never"), (1.0, True)]
)
def test_refilled_beams_equal_the_plain_search(seed, num_beams, penalty, early_stopping):
    limit = 6
    table = Table(seed, limit, end=1.0)
    outputs = table.run(
        refilled(
            num_beams,
            penalty,
            early_stopping,
            num_return_sequences=num_beams,
            max_new_tokens=limit,
        ),
        return_attention=True,
    )
    for row in range(2):
        expected = search_with_refilled_beams(table, row, limit, num_beams, penalty, early_stopping)
        got = [tuple(int(i) for i in ids if i) for ids in array(outputs.ids)[row]]
        assert got == [ids for _, ids in expected]
        np.testing.assert_allclose(
            array(outputs.scores)[row], [score for score, _ in expected], rtol=1e-4
        )
        for sequence, weights in zip(got, array(outputs.attention)[row], strict=True):
            for t, last in enumerate((1, *sequence[:-1])):
                np.testing.assert_allclose(weights[t], table.attention[t, row, last], rtol=1e-5)
            assert not weights[len(sequence) :].any()


@pytest.mark.slow_on_tensorflow
def test_early_stopping_trades_score_for_steps():
    """`True` stops first, `"never"` last, and with the best scores."""
    all_scores = {early_stopping: [] for early_stopping in (True, False, "never")}
    for early_stopping, scores in all_scores.items():
        for seed in range(8):
            table = Table(seed, 6, end=1.0)
            outputs = table.run(refilled(2, 2.0, early_stopping, max_new_tokens=6))
            scores.extend(array(outputs.scores)[:, 0])
    first, middle, last = map(np.array, all_scores.values())
    assert (last >= middle).all() and (middle >= first).all()
    assert (last > middle).any() and (middle > first).any()


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize("make", [BeamSearch, refilled])
def test_options_per_row_equal_separate_searches(make, seed):
    table, strategy = Table(seed, 6, end=1.0), make(4, num_return_sequences=2, max_new_tokens=6)
    outputs = table.run(strategy, return_attention=True, num_beams=[2, 3], max_new_tokens=[5, 3])
    for row, (num_beams, limit) in enumerate([(2, 5), (3, 3)]):
        separate = strategy.replace(num_beams=num_beams, max_new_tokens=limit)
        alone = table.run(separate, return_attention=True)
        np.testing.assert_array_equal(array(outputs.ids)[row, :, :limit], array(alone.ids)[row])
        assert not array(outputs.ids)[row, :, limit:].any()
        np.testing.assert_allclose(array(outputs.scores)[row], array(alone.scores)[row], rtol=1e-5)
        np.testing.assert_allclose(
            array(outputs.attention)[row, :, :limit], array(alone.attention)[row], atol=1e-6
        )


@pytest.mark.parametrize("make", [BeamSearch, refilled])
def test_num_beams_of_a_tensor_is_clipped(make):
    table, strategy = Table(1, 6, end=1.0), make(4, num_return_sequences=2, max_new_tokens=6)
    for option, clipped in ((0, 2), (9, 4)):
        outputs, expected = (
            table.run(strategy, num_beams=ops.convert_to_tensor([n])) for n in (option, clipped)
        )
        np.testing.assert_array_equal(array(outputs.ids), array(expected.ids))
        np.testing.assert_array_equal(array(outputs.scores), array(expected.scores))
