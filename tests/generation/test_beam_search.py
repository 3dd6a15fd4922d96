"""Beam search against a search of everything, in NumPy."""

import itertools

import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.generation import BeamSearch, FullBeam, GreedySearch

V, S = 6, 3  # tokens that can be written: END and 3, 4, 5
TOKENS = range(2, V)
KEPT = np.array([[1, 1, 1], [1, 1, 0]], bool)


class Table:
    """A decoder by tables: what follows depends on the last token, the step and the source."""

    def __init__(self, seed, length, end=0.0):
        rng = np.random.default_rng(seed)
        self.logits = rng.normal(size=(length, 2, V, V)).astype("float32") * 1.5
        self.logits[..., 2] += end
        attention = rng.random(size=(length, 2, V, S)).astype("float32") ** 4 * KEPT[:, None]
        self.attention = attention / attention.sum(-1, keepdims=True)

    def step(self, ids, t, state):
        chosen = ops.one_hot(ids, V, dtype="float32")  # (B, K, V)
        now = [ops.take(ops.convert_to_tensor(x), t, axis=0) for x in (self.logits, self.attention)]
        logits, scores = (ops.matmul(chosen, x) for x in now)
        # The state is the sum of the last tokens: it tells whether beams carry their own.
        return logits, {"sum": state["sum"] + ops.cast(ids, "float32")}, scores

    def run(self, strategy, attention=False, **options):
        state = {"sum": ops.zeros((2, strategy.num_beams), "float32")}
        return strategy(self.step, state, KEPT, attention=attention, options=options)

    def search(self, row, limit, alpha, beta):
        """Every complete answer with its score (Wu 2016, equation 14), best first."""
        logits = self.logits[:, row].astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        answers = []
        for length in range(1, limit + 1):
            for ids in itertools.product(TOKENS, repeat=length):
                if 2 in ids[:-1] or (length < limit and ids[-1] != 2):
                    continue
                before = (1, *ids[:-1])
                log_p = sum(log_probs[t, last, now] for t, (last, now) in
                            enumerate(zip(before, ids, strict=True)))  # fmt: skip
                looked = sum(self.attention[t, row, last] for t, last in enumerate(before))
                covered = np.log(np.clip(looked[KEPT[row]], 2e-9, 1.0)).sum()
                score = log_p / ((5 + length) / 6) ** alpha + beta * covered
                answers.append((score, ids))
        return sorted(answers, reverse=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_with_every_first_token_on_the_beam_it_finds_the_best_of_all(seed, alpha):
    table = Table(seed, length=2)
    found = table.run(BeamSearch(len(TOKENS), alpha, max_new_tokens=2))
    for row in range(2):
        score, ids = table.search(row, 2, alpha, 0.0)[0]
        assert tuple(i for i in array(found.ids)[row, 0] if i) == ids
        np.testing.assert_allclose(array(found.scores)[row, 0], score, rtol=1e-4)


def reachable_answers(table, row, limit, width, alpha, beta):
    """A beam search that never stops early and prunes nothing but what falls off the beam."""
    answers = {ids: score for score, ids in table.search(row, limit, alpha, beta)}
    logits = table.logits[:, row].astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    alive, complete = [(0.0, ())], []
    for t in range(limit):
        grown = [
            (log_p + log_probs[t, ids[-1] if ids else 1, token], (*ids, token))
            for log_p, ids in alive
            for token in TOKENS
        ]
        grown = sorted(grown, reverse=True)[:width]
        complete += [(answers[ids], ids) for _, ids in grown if ids in answers]
        alive = [(log_p, ids) for log_p, ids in grown if ids not in answers]
    return sorted(complete, reverse=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("alpha, beta", [(0.0, 0.0), (0.6, 0.0), (1.0, 0.5)])
def test_stopping_early_never_loses_a_winner(seed, width, alpha, beta):
    limit = 4
    table = Table(seed, limit, end=0.5)
    for num_return_sequences in {1, width}:
        found = table.run(
            BeamSearch(
                width, alpha, beta, num_return_sequences=num_return_sequences, max_new_tokens=limit
            )
        )
        for row in range(2):
            expected = reachable_answers(table, row, limit, width, alpha, beta)[
                :num_return_sequences
            ]
            got = [tuple(int(i) for i in ids if i) for ids in array(found.ids)[row]]
            scores = [score for score, _ in expected]
            assert got == [ids for _, ids in expected]
            np.testing.assert_allclose(array(found.scores)[row], scores, rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_of_one_is_greedy(seed, penalty):
    table = Table(seed, 6)
    beam = table.run(BeamSearch(1, penalty, max_new_tokens=6), attention=True)
    greedy = table.run(GreedySearch(max_new_tokens=6), attention=True)
    np.testing.assert_array_equal(array(beam.ids), array(greedy.ids))
    np.testing.assert_allclose(array(beam.attention), array(greedy.attention), rtol=1e-5)
    lengths = (array(greedy.ids) > 0).sum(-1)
    np.testing.assert_allclose(
        array(beam.scores), array(greedy.scores) / ((5 + lengths) / 6) ** penalty, rtol=1e-5
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_n_best_are_sorted_distinct_and_carry_their_own_attention(seed):
    table = Table(seed, 5)
    found = table.run(BeamSearch(4, num_return_sequences=4, max_new_tokens=5), attention=True)
    scores, ids = array(found.scores), array(found.ids)
    assert (np.diff(scores, axis=1) <= 0).all() and (scores > -1e8).all()
    for row in range(2):
        assert len({tuple(answer) for answer in ids[row]}) == 4
        for answer, looked in zip(ids[row], array(found.attention)[row], strict=True):
            length, last = (answer > 0).sum(), 1
            for t in range(length):
                np.testing.assert_allclose(looked[t], table.attention[t, row, last], rtol=1e-5)
                last = answer[t]
            assert not looked[length:].any()


def test_it_stops_when_no_beam_can_win(steps):
    """END is nearly certain at once: what goes on has lost too much ever to win."""
    table = Table(0, 30)
    table.logits[0, :, :, 2] = 12.0
    found = table.run(BeamSearch(4, length_penalty=0.6, max_new_tokens=30))
    assert steps == [1]
    assert array(found.ids)[:, 0, :2].tolist() == [[2, 0], [2, 0]]


def test_it_goes_on_while_a_beam_can_win(steps):
    """With a strong length penalty a longer answer of lower probability wins, and is waited for."""
    table = Table(0, 4)
    table.logits[:] = -20.0
    table.logits[0, :, 1, 2], table.logits[0, :, 1, 4] = 0.0, -0.1  # END now, or 4
    table.logits[1, :, 4, 5] = table.logits[2, :, 5, 2] = 20.0  # 4 is followed by 5, END
    found = table.run(BeamSearch(2, length_penalty=1.0, max_new_tokens=4))
    assert array(found.ids)[:, 0].tolist() == [[4, 5, 2, 0]] * 2
    assert steps == [3]
    log_p = -0.1 - np.log(1 + np.exp(-0.1))
    np.testing.assert_allclose(array(found.scores)[:, 0], log_p / (8 / 6), rtol=1e-4)
    found = table.run(BeamSearch(2, length_penalty=0.0, max_new_tokens=4))
    assert array(found.ids)[:, 0].tolist() == [[2, 0, 0, 0]] * 2
    assert steps == [3, 1]


def test_finished_beams_stand_still():
    """More room changes nothing of an answer that was complete."""
    table = Table(1, 12, end=1.0)
    short, long = (
        table.run(BeamSearch(3, 0.0, max_new_tokens=n, num_return_sequences=1)) for n in (6, 12)
    )
    ended = (array(short.ids)[:, 0] == 2).any(-1)
    assert ended.any()
    np.testing.assert_array_equal(array(long.ids)[ended, :, :6], array(short.ids)[ended])
    assert not array(long.ids)[ended, :, 6:].any()
    np.testing.assert_array_equal(array(long.scores)[ended], array(short.scores)[ended])


def test_the_beam_may_not_be_wider_than_the_vocabulary():
    table = Table(0, 3)
    with pytest.raises(ValueError, match="`num_beams` .* Received: num_beams=5, vocabulary_size=6"):
        table.run(BeamSearch(5, max_new_tokens=3))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_beams": 0}, "Received: num_return_sequences=1, num_beams=0"),
        (
            {"num_beams": 2, "num_return_sequences": 3},
            "num_return_sequences: .* Received: num_return_sequences=3, num_beams=2",
        ),
        ({"num_return_sequences": 0}, "num_return_sequences: .* Received: num_return_sequences=0"),
        ({"length_penalty": -1.0}, "Received: length_penalty=-1.0"),
        ({"coverage_penalty": -1.0}, "coverage_penalty=-1.0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        BeamSearch(**options)


# A beam that stays full


def full_beam(table, row, limit, width, penalty, stop):
    """Beginnings as tuples of ids with their log-probability; answers with their score."""
    logits = table.logits[:, row].astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    alive, answers = [(0.0, ())], []
    for length in range(1, limit + 1):
        grown = [
            (log_p + log_probs[length - 1, ids[-1] if ids else 1, token], (*ids, token))
            for log_p, ids in alive
            for token in TOKENS
        ]
        grown = sorted(grown, reverse=True)[: 2 * width]
        done = [ids[-1] == 2 or length == limit for _, ids in grown]
        answers += [
            (log_p / length**penalty, ids)
            for (log_p, ids), ended in list(zip(grown, done, strict=True))[:width]
            if ended
        ]
        answers = sorted(answers, reverse=True)[:width]
        alive = [each for each, ended in zip(grown, done, strict=True) if not ended][:width]
        if len(answers) == width and alive:
            best = alive[0][0] / (limit if stop == "never" else length) ** penalty
            if stop is True or best <= answers[-1][0]:
                break
    return answers


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("penalty, stop", [(0.0, False), (1.0, False), (2.0, "never"), (1.0, True)])
def test_a_full_beam_is_the_plain_search(seed, width, penalty, stop):
    limit = 6
    table = Table(seed, limit, end=1.0)
    found = table.run(
        FullBeam(width, penalty, stop, num_return_sequences=width, max_new_tokens=limit), True
    )
    for row in range(2):
        expected = full_beam(table, row, limit, width, penalty, stop)
        got = [tuple(int(i) for i in ids if i) for ids in array(found.ids)[row]]
        assert got == [ids for _, ids in expected]
        np.testing.assert_allclose(
            array(found.scores)[row], [score for score, _ in expected], rtol=1e-4
        )
        for answer, looked in zip(got, array(found.attention)[row], strict=True):
            for t, last in enumerate((1, *answer[:-1])):
                np.testing.assert_allclose(looked[t], table.attention[t, row, last], rtol=1e-5)
            assert not looked[len(answer) :].any()


def test_how_a_full_beam_stops_changes_what_it_finds():
    """`True` is the first to stop, `"never"` the last."""
    taken = {stop: [] for stop in (True, False, "never")}
    for stop, scores in taken.items():
        for seed in range(8):
            table = Table(seed, 6, end=1.0)
            found = table.run(FullBeam(2, 2.0, stop, max_new_tokens=6))
            scores.extend(array(found.scores)[:, 0])
    first, middle, last = map(np.array, taken.values())
    assert (last >= middle).all() and (middle >= first).all()
    assert (last > middle).any() and (middle > first).any()


def test_an_unknown_way_to_stop():
    with pytest.raises(ValueError, match=r"early_stopping: .* Received: 'often'"):
        FullBeam(early_stopping="often")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [BeamSearch, FullBeam])
def test_each_row_may_have_a_width_and_a_limit_of_its_own(kind, seed):
    table, made = Table(seed, 6, end=1.0), kind(4, num_return_sequences=2, max_new_tokens=6)
    found = table.run(made, attention=True, num_beams=[2, 3], max_new_tokens=[5, 3])
    for row, (width, limit) in enumerate([(2, 5), (3, 3)]):
        alone = table.run(made.replace(num_beams=width, max_new_tokens=limit), attention=True)
        np.testing.assert_array_equal(array(found.ids)[row, :, :limit], array(alone.ids)[row])
        assert not array(found.ids)[row, :, limit:].any()
        np.testing.assert_allclose(array(found.scores)[row], array(alone.scores)[row], rtol=1e-5)
        np.testing.assert_allclose(
            array(found.attention)[row, :, :limit], array(alone.attention)[row], atol=1e-6
        )


@pytest.mark.parametrize("kind", [BeamSearch, FullBeam])
def test_a_width_is_from_n_best_to_the_strategys(kind):
    table, made = Table(1, 6, end=1.0), kind(4, num_return_sequences=2, max_new_tokens=6)
    for given, meant in ((0, 2), (9, 4)):
        found, expected = (table.run(made, num_beams=[width]) for width in (given, meant))
        np.testing.assert_array_equal(array(found.ids), array(expected.ids))
        np.testing.assert_array_equal(array(found.scores), array(expected.scores))
