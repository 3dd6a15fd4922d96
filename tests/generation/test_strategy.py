"""The decoding loop and what all strategies share, driven by a decoder that is a NumPy table."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.generation.logits_processors import MIN_LOG_PROB, compute_log_probs
from keras_attention.generation.strategy import Strategy

MASK = np.array([[1, 1, 1], [1, 1, 0]], bool)
V = 7
RNG = np.random.default_rng(0)


def make_step(table):
    """A decoder whose logits depend on the last token alone; its state counts the steps."""
    table = ops.convert_to_tensor(table, "float32")

    def step(ids, position, state):
        logits = ops.take(table, ids, axis=0)  # (B, K, V)
        weights = ops.ones((*ops.shape(ids), 3), "float32") / 3.0
        return logits, {"steps": state["steps"] + 1}, weights

    return step


def initial_state(strategy, batch=2):
    return {"steps": ops.zeros((batch, strategy.num_beams), "int32")}


def run(strategy, logits, mask=MASK, **options):
    return strategy(make_step(logits), initial_state(strategy), mask, **options)


def table(seed=0):
    return np.random.default_rng(seed).normal(size=(V, V)).astype("float32") * 2


def table_without_end():
    logits = table()
    logits[:, 2] = -50.0
    return logits


REFILLED = {"length_penalty_type": "power", "early_stopping": False, "refill_beams": True}
STRATEGIES = {
    "greedy": lambda **limits: GreedySearch(**limits),
    "beam": lambda **limits: BeamSearch(3, **limits),
    "beam, refilled": lambda **limits: BeamSearch(3, 1.0, **REFILLED, **limits),
    "sampling": lambda **limits: Sampling(seed=1, **limits),
}
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


@every_strategy
def test_length_ratio_limits_each_row(name):
    strategy = STRATEGIES[name](max_new_tokens=8, length_ratio=1.5)
    outputs = run(strategy, table_without_end())
    lengths = (array(outputs.ids) != 0).sum(-1)[:, 0]
    assert lengths.tolist() == [5, 3]  # ceil(1.5 * 3), ceil(1.5 * 2)
    assert array(outputs.ids).shape == (2, 1, 8)


@every_strategy
def test_limit_is_at_least_one_token(name):
    strategy = STRATEGIES[name](max_new_tokens=8, length_ratio=0.1)
    outputs = run(strategy, table_without_end(), np.zeros((2, 3), bool))
    assert (array(outputs.ids) != 0).sum(-1)[:, 0].tolist() == [1, 1]


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_pad_and_start_are_never_generated_and_end_is_last(name, seed):
    logits = table(seed)
    logits[:, :2] = 9.0
    strategy = STRATEGIES[name](max_new_tokens=12)
    outputs = run(strategy, logits, return_attention=True)
    for ids, weights in zip(array(outputs.ids)[:, 0], array(outputs.attention)[:, 0], strict=True):
        length = list(ids).index(2) + 1 if 2 in ids else 12
        assert (ids[:length] > 1).all() and not ids[length:].any()
        np.testing.assert_allclose(weights[:length].sum(-1), 1.0, rtol=1e-6)
        assert not weights[length:].any()
    without = run(strategy, logits)
    assert without.attention is None
    np.testing.assert_array_equal(array(without.ids), array(outputs.ids))


@every_strategy
def test_loop_stops_when_all_sequences_have_ended(name, steps):
    """The loop takes as many steps as the longest output needs, not `max_new_tokens`."""
    logits = np.full((V, V), -50.0, "float32")
    for token, after in ((1, 4), (4, 5), (5, 2), (2, 6), (6, 6)):
        logits[token, after] = 50.0
    strategy = STRATEGIES[name](max_new_tokens=40)
    if name == "beam, refilled":  # it waits for `num_beams` finished hypotheses
        strategy = strategy.replace(num_beams=1)
    outputs = run(strategy, logits)
    assert array(outputs.ids)[:, 0, :4].tolist() == [[4, 5, 2, 0]] * 2
    assert steps == [3]


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_suppressed_tokens_are_never_generated(name, seed):
    logits = table(seed)
    logits[:, 2], logits[:, 3:5] = -50.0, 9.0
    strategy = STRATEGIES[name](max_new_tokens=12, suppress_tokens=[3, 4])
    assert (array(run(strategy, logits).ids) > 4).all()
    with pytest.raises(ValueError, match=r"must not contain END, 2. Received: .*=\[5, 2\]"):
        STRATEGIES[name](suppress_tokens=[5, 2])


@every_strategy
def test_forced_end_is_at_the_limit_and_costs_nothing(name):
    logits = table_without_end()
    strategy = STRATEGIES[name](max_new_tokens=8, length_ratio=1.5, force_end=True)
    outputs = run(strategy, logits)
    ids = array(outputs.ids)[:, 0]
    assert (ids != 0).sum(-1).tolist() == [5, 3] and ids[0, 4] == ids[1, 2] == 2
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    inputs = [1, *ids[0, :3]]
    log_prob = log_probs[inputs, ids[0, :4]].sum()
    length_penalty = {"beam": ((5 + 5) / 6) ** 0.6, "beam, refilled": 5.0}.get(name, 1.0)
    np.testing.assert_allclose(array(outputs.scores)[0, 0], log_prob / length_penalty, rtol=1e-5)


def test_weights_may_be_none_when_they_are_not_used():
    step = make_step(table())

    def step_without_weights(ids, position, state):
        return *step(ids, position, state)[:2], None

    for make in STRATEGIES.values():
        strategy = make(max_new_tokens=4)
        assert not strategy.uses_weights
        outputs = strategy(step_without_weights, initial_state(strategy), MASK)
        np.testing.assert_array_equal(array(outputs.ids), array(run(strategy, table()).ids))
    assert BeamSearch(coverage_penalty=0.1).uses_weights


def test_defaults_are_those_of_the_documentation():
    limits = {
        "max_new_tokens": 64, "length_ratio": None, "suppress_tokens": [], "force_end": False,
    }  # fmt: skip
    assert GreedySearch().get_config() == limits
    sampling = {"temperature": 1.0, "top_k": None, "top_p": None, "seed": 0}
    assert Sampling().get_config() == {**sampling, "num_return_sequences": 1, **limits}
    beams = {
        "num_beams": 4, "length_penalty": 0.6, "coverage_penalty": 0.0, "num_return_sequences": 1,
        "length_penalty_type": "gnmt", "early_stopping": "never", "refill_beams": False,
    }  # fmt: skip
    assert BeamSearch().get_config() == {**beams, **limits}


@pytest.mark.parametrize("make", [GreedySearch, lambda **limits: Sampling(0.0, **limits)])
def test_an_ended_sequence_keeps_its_score_while_others_are_extended(make):
    logits = np.full((2, V, V), -50.0, "float32")
    logits[0, :, 2], logits[0, :, 5] = 1.0, 0.0  # the first row ends at once
    logits[1, :, 4] = 50.0

    def step(ids, position, state):
        one_hot = ops.one_hot(ids, V, dtype="float32")  # (B, 1, V)
        return ops.matmul(one_hot, ops.convert_to_tensor(logits)), state, None

    outputs = make(max_new_tokens=5)(step, {"x": ops.zeros((2, 1))}, MASK)
    assert array(outputs.ids)[:, 0].tolist() == [[2, 0, 0, 0, 0], [4] * 5]
    expected = [-np.log(1 + np.exp(-1.0)), 0.0]
    np.testing.assert_allclose(array(outputs.scores)[:, 0], expected, atol=1e-6)


def test_replace_keeps_the_other_options():
    strategy = BeamSearch(3, 0.5, max_new_tokens=9, force_end=True)
    replaced = strategy.replace(num_beams=5, max_new_tokens=7)
    assert repr(replaced) == repr(BeamSearch(5, 0.5, max_new_tokens=7, force_end=True))


@every_strategy
def test_config_round_trip(name):
    strategy = STRATEGIES[name](
        max_new_tokens=9, length_ratio=2.0, suppress_tokens=(4, 5), force_end=True
    )
    config = keras.saving.serialize_keras_object(strategy)
    restored = keras.saving.deserialize_keras_object(config)
    assert type(restored) is type(strategy) and restored.get_config() == strategy.get_config()
    assert repr(restored) == repr(strategy)
    assert "max_new_tokens=9" in repr(strategy)


@every_strategy
@pytest.mark.parametrize("limits", [{"max_new_tokens": 0}, {"length_ratio": 0.0}])
def test_limits_must_be_positive(name, limits):
    (limit,) = limits
    with pytest.raises(ValueError, match=f"`{limit}` must be positive. Received: {limit}=0"):
        STRATEGIES[name](**limits)


@pytest.mark.parametrize(
    "strategy, options, message",
    [
        ("greedy", {"max_new_tokens": [0]}, "`max_new_tokens` must be integers from 1 to 64"),
        ("greedy", {"max_new_tokens": [65, 3]}, "`max_new_tokens` must be integers from 1 to 64"),
        ("greedy", {"max_new_tokens": [2.5]}, "`max_new_tokens` must be integers"),
        ("greedy", {"max_new_tokens": [1, 2, 3]}, "one for each of the 2 rows or one for all"),
        ("greedy", {"max_new_tokens": [[1], [2]]}, "one for each of the 2 rows or one for all"),
        ("greedy", {"max_new_tokens": ["4"]}, "must be integers .* Received: max_new_tokens=.'4'"),
        ("greedy", {"temperature": 1.0}, r"`options` must be some of \['max_new_tokens'\]"),
        ("beam", {"num_beams": [4, 2]}, "`num_beams` must be integers from 1 to 3"),
        ("beam", {"num_beams": [0, 2]}, "`num_beams` must be integers from 1 to 3"),
        ("sampling", {"temperature": [-1.0]}, "`temperature` must be numbers from 0.0 to"),
        ("sampling", {"temperature": np.array([np.nan])}, "must be numbers .* temperature=.nan"),
        ("sampling", {"temperature": [np.inf, 1.0]}, "`temperature` must be numbers"),
        ("sampling", {"seed": [2**31]}, "`seed` must be integers from -2147483648"),
    ],
)
def test_invalid_options_of_a_request_raise(strategy, options, message):
    with pytest.raises(ValueError, match=message):
        run(STRATEGIES[strategy](), table(), options=options)


def test_options_of_tensors_are_clipped():
    """As in an exported graph, which cannot raise."""
    for name, received, expected in (
        ("greedy", {"max_new_tokens": [0, 99]}, {"max_new_tokens": [1, 8]}),
        ("beam", {"num_beams": [-1, 99]}, {"num_beams": [1, 3]}),
    ):
        tensors = {key: ops.convert_to_tensor(value) for key, value in received.items()}
        strategy = STRATEGIES[name](max_new_tokens=8)
        clipped = run(strategy, table_without_end(), options=tensors)
        in_range = run(strategy, table_without_end(), options=expected)
        np.testing.assert_array_equal(array(clipped.ids), array(in_range.ids))
        np.testing.assert_allclose(array(clipped.scores), array(in_range.scores))


def test_base_class_is_abstract():
    with pytest.raises(NotImplementedError):
        Strategy()(make_step(table()), {"steps": ops.zeros((2, 1), "int32")}, MASK)


def test_log_probs_are_float32_and_exclude_pad_and_start():
    logits = RNG.normal(size=(2, 3, V))
    processors = GreedySearch().logits_processors
    log_probs = array(compute_log_probs(ops.convert_to_tensor(logits, "float16"), processors))
    assert log_probs.dtype == "float32"
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(log_probs[..., 2:], expected[..., 2:], atol=0.01)
    assert (log_probs[..., :2] == MIN_LOG_PROB).all()
