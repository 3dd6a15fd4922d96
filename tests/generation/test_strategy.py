"""The loop and what strategies share, driven by a decoder that is a table in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.generation import BeamSearch, FullBeam, GreedySearch, Sampling
from keras_attention.generation.strategy import (
    MIN_LOG_PROB,
    Strategy,
    best,
    gather_beams,
    log_probabilities,
    write,
)

KEPT = np.array([[1, 1, 1], [1, 1, 0]], bool)
V = 7
RNG = np.random.default_rng(0)


def make_step(table):
    """A decoder whose next logits depend on the last token alone; its state counts the steps."""
    table = ops.convert_to_tensor(table, "float32")

    def step(ids, position, state):
        logits = ops.take(table, ids, axis=0)  # (B, K, V)
        scores = ops.ones((*ops.shape(ids), 3), "float32") / 3.0
        return logits, {"steps": state["steps"] + 1}, scores

    return step


def begin(beams, batch=2):
    return {"steps": ops.zeros((batch, beams), "int32")}


def table(seed=0):
    return np.random.default_rng(seed).normal(size=(V, V)).astype("float32") * 2


STRATEGIES = {
    "greedy": lambda **limits: GreedySearch(**limits),
    "beam": lambda **limits: BeamSearch(3, **limits),
    "full beam": lambda **limits: FullBeam(3, **limits),
    "sample": lambda **limits: Sampling(seed=1, **limits),
}
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def never_end():
    logits = table()
    logits[:, 2] = -50.0
    return logits


@every_strategy
def test_the_limit_of_the_source(strategy):
    made = STRATEGIES[strategy](max_new_tokens=8, length_ratio=1.5)
    found = made(make_step(never_end()), begin(made.num_beams), KEPT)
    lengths = (array(found.ids) != 0).sum(-1)[:, 0]
    assert lengths.tolist() == [5, 3]  # ceil(1.5 * 3), ceil(1.5 * 2)
    assert array(found.ids).shape == (2, 1, 8)


@every_strategy
def test_a_limit_is_at_least_one_token(strategy):
    made = STRATEGIES[strategy](max_new_tokens=8, length_ratio=0.1)
    found = made(make_step(never_end()), begin(made.num_beams), np.zeros((2, 3), bool))
    assert (array(found.ids) != 0).sum(-1)[:, 0].tolist() == [1, 1]


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_pad_and_start_are_never_written_and_end_is_last(strategy, seed):
    logits = table(seed)
    logits[:, :2] = 9.0
    made = STRATEGIES[strategy](max_new_tokens=12)
    found = made(make_step(logits), begin(made.num_beams), KEPT, attention=True)
    for ids, rows in zip(array(found.ids)[:, 0], array(found.attention)[:, 0], strict=True):
        length = list(ids).index(2) + 1 if 2 in ids else 12
        assert (ids[:length] > 1).all() and not ids[length:].any()
        np.testing.assert_allclose(rows[:length].sum(-1), 1.0, rtol=1e-6)
        assert not rows[length:].any()
    without = made(make_step(logits), begin(made.num_beams), KEPT)
    assert without.attention is None
    np.testing.assert_array_equal(array(without.ids), array(found.ids))


@every_strategy
def test_it_stops_when_all_have_ended(strategy, steps):
    """The loop takes as many steps as the longest answer needs, not `max_new_tokens`."""
    logits = np.full((V, V), -50.0, "float32")
    for token, after in ((1, 4), (4, 5), (5, 2), (2, 6), (6, 6)):
        logits[token, after] = 50.0
    made = STRATEGIES[strategy](max_new_tokens=40)
    if strategy == "full beam":  # it waits for as many answers as it is wide
        made = FullBeam(1, max_new_tokens=40)
    found = made(make_step(logits), begin(made.num_beams), KEPT)
    assert array(found.ids)[:, 0, :4].tolist() == [[4, 5, 2, 0]] * 2
    assert steps == [3]


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_forbidden_ids_are_never_written(strategy, seed):
    logits = table(seed)
    logits[:, 2], logits[:, 3:5] = -50.0, 9.0
    made = STRATEGIES[strategy](max_new_tokens=12, suppress_tokens=[3, 4])
    ids = array(made(make_step(logits), begin(made.num_beams), KEPT).ids)
    assert (ids > 4).all()
    with pytest.raises(ValueError, match=r"without END, 2. Received: suppress_tokens=\[5, 2\]"):
        STRATEGIES[strategy](suppress_tokens=[5, 2])


@every_strategy
def test_a_forced_end_is_written_at_the_limit_and_costs_nothing(strategy):
    limits = {"max_new_tokens": 8, "length_ratio": 1.5}
    logits = never_end()
    forced = STRATEGIES[strategy](**limits, force_end=True)
    found = forced(make_step(logits), begin(forced.num_beams), KEPT)
    ids = array(found.ids)[:, 0]
    assert (ids != 0).sum(-1).tolist() == [5, 3] and ids[0, 4] == ids[1, 2] == 2
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    before = [1, *ids[0, :3]]
    total = log_probs[before, ids[0, :4]].sum()
    length = {"beam": ((5 + 5) / 6) ** 0.6, "full beam": 5.0}.get(strategy, 1.0)
    np.testing.assert_allclose(array(found.scores)[0, 0], total / length, rtol=1e-5)


def test_a_strategy_like_another():
    made = BeamSearch(3, 0.5, max_new_tokens=9, force_end=True).replace(
        num_beams=5, max_new_tokens=7
    )
    assert repr(made) == repr(BeamSearch(5, 0.5, max_new_tokens=7, force_end=True))


@every_strategy
def test_options_round_trip(strategy):
    made = STRATEGIES[strategy](
        max_new_tokens=9, length_ratio=2.0, suppress_tokens=(4, 5), force_end=True
    )
    config = keras.saving.serialize_keras_object(made)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(made) and again.get_config() == made.get_config()
    assert repr(again) == repr(made)
    assert "max_new_tokens=9" in repr(made)


@every_strategy
@pytest.mark.parametrize("limits", [{"max_new_tokens": 0}, {"length_ratio": 0.0}])
def test_limits_must_be_positive(strategy, limits):
    (name,) = limits
    with pytest.raises(ValueError, match=f"{name}: expected more than 0. Received: {name}=0"):
        STRATEGIES[strategy](**limits)


def test_the_base_is_abstract():
    with pytest.raises(NotImplementedError):
        Strategy()(make_step(table()), begin(1), KEPT)


def test_log_probabilities_are_float32_and_refuse_pad_and_start():
    logits = RNG.normal(size=(2, 3, V))
    got = array(log_probabilities(ops.convert_to_tensor(logits, "float16")))
    assert got.dtype == "float32"
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(got[..., 2:], expected[..., 2:], atol=0.01)
    assert (got[..., :2] == MIN_LOG_PROB).all()


def test_best_write_and_gather():
    x = ops.convert_to_tensor([[[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]])
    assert array(best(x)).tolist() == [[1, 0]]
    written = write(ops.zeros((1, 2, 3), "int32"), 1, ops.convert_to_tensor([[7, 8]], "int32"))
    assert array(written).tolist() == [[[0, 7, 0], [0, 8, 0]]]
    wide = write(ops.zeros((1, 2, 2, 3)), 0, x)
    np.testing.assert_array_equal(array(wide)[:, :, 0], array(x))
    assert not array(wide)[:, :, 1].any()
    x = RNG.normal(size=(2, 3, 4)).astype("float32")
    beams = np.array([[2, 0], [1, 1]])
    got = gather_beams(ops.convert_to_tensor(x), ops.convert_to_tensor(beams, "int32"))
    np.testing.assert_array_equal(array(got), np.take_along_axis(x, beams[..., None], 1))
