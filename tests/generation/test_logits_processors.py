"""Logits processors, one by one and in a list."""

import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.generation.logits_processors import (
    MIN_LOG_PROB,
    ForceEnd,
    SuppressTokens,
    Temperature,
    TopK,
    TopP,
    process_logits,
)

LOGITS = np.log([[[0.1, 0.5, 0.15, 0.25]]]).astype("float32")  # (1, 1, 4)


def process(*processors, position=0, **options):
    options = {name: ops.convert_to_tensor([[x]]) for name, x in options.items()}
    logits = process_logits(ops.convert_to_tensor(LOGITS), processors, position, options)
    assert logits.dtype == "float32" or "float32" in str(logits.dtype)
    return array(logits)[0, 0]


@pytest.mark.parametrize(
    "processor, expected",
    [
        (TopK(2), [False, True, False, True]),
        (TopK(9), [True] * 4),
        (TopP(0.4), [False, True, False, False]),
        (TopP(0.7), [False, True, False, True]),
        (TopP(0.8), [False, True, True, True]),
        (TopP(1.0), [True] * 4),
        (SuppressTokens([1, 3]), [True, False, True, False]),
    ],
)
def test_remaining_tokens(processor, expected):
    logits = process(processor)
    assert (logits > -1e8).tolist() == expected
    np.testing.assert_array_equal(logits[expected], LOGITS[0, 0][expected])
    assert (logits[~np.array(expected)] == MIN_LOG_PROB).all()


def test_force_end_applies_to_the_last_position_only():
    np.testing.assert_array_equal(process(ForceEnd(), max_new_tokens=2), LOGITS[0, 0])
    expected = [MIN_LOG_PROB, MIN_LOG_PROB, 0.0, MIN_LOG_PROB]
    assert process(ForceEnd(), position=1, max_new_tokens=2).tolist() == expected


def test_temperature_divides_the_distance_from_the_greatest_logit():
    expected = (LOGITS[0, 0] - np.log(0.5)) / 0.5
    np.testing.assert_allclose(process(Temperature(), temperature=0.5), expected, atol=1e-5)
    expected = LOGITS[0, 0] - np.log(0.5)
    np.testing.assert_allclose(process(Temperature(), temperature=0.0), expected, atol=1e-5)


@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e6])
def test_suppressed_tokens_are_impossible_at_every_temperature(temperature):
    logits = process(SuppressTokens([1, 2]), Temperature(), temperature=temperature)
    assert (logits == MIN_LOG_PROB).tolist() == [False, True, True, False]
    assert logits[3] == 0 and np.isfinite(logits).all()


def test_processors_run_in_order():
    assert (process(SuppressTokens([1]), TopK(1)) > -1e8).tolist() == [False, False, False, True]
    assert (process(TopK(1), SuppressTokens([1])) > -1e8).tolist() == [False] * 4
