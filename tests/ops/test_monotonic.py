"""The three modes against the definitions of Raffel et al. 2017, by loops in float64."""

import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.ops.monotonic import MODES, hard, parallel, recursive

B, T, S = 2, 3, 6


def random_p_choose():
    return np.random.default_rng(0).uniform(0.02, 0.9, size=(B, T, S))


def random_previous():
    return np.random.default_rng(1).dirichlet(np.ones(S), size=(B, T)) * 0.8


def expected_attention(p, previous):
    """Equations 13 and 14: q_ij = (1 - p_i(j-1)) q_i(j-1) + a_(i-1)j, a_ij = p_ij q_ij."""
    attention = np.zeros_like(p)
    for b, t in np.ndindex(p.shape[:2]):
        q, p_before = 0.0, 0.0
        for j in range(p.shape[2]):
            q = (1 - p_before) * q + previous[b, t, j]
            attention[b, t, j] = p[b, t, j] * q
            p_before = p[b, t, j]
    return attention


def hard_attention(chosen, previous):
    """Algorithm 1: stop at the first chosen key at or after the previous one."""
    attention = np.zeros_like(chosen)
    for b, t in np.ndindex(chosen.shape[:2]):
        if previous[b, t].any():
            for j in range(int(previous[b, t].argmax()), chosen.shape[2]):
                if chosen[b, t, j]:
                    attention[b, t, j] = 1
                    break
    return attention


def run(mode, p, previous, dtype="float32"):
    result = MODES[mode](ops.cast(p, dtype), ops.cast(previous, dtype))
    return array(ops.cast(result, "float32"))


@pytest.mark.parametrize("mode", ["parallel", "recursive"])
def test_soft_modes_are_the_expectation(mode):
    p, previous = random_p_choose(), random_previous()
    np.testing.assert_allclose(
        run(mode, p, previous), expected_attention(p, previous), rtol=2e-5, atol=1e-7
    )


@pytest.mark.parametrize("mode", ["parallel", "recursive"])
def test_soft_modes_over_successive_steps(mode):
    p = random_p_choose()
    expected = attention = np.eye(1, S)[None].repeat(B, 0)
    for t in range(T):
        expected = expected_attention(p[:, t : t + 1], expected)
        attention = run(mode, p[:, t : t + 1], attention)
        np.testing.assert_allclose(attention, expected, rtol=1e-4, atol=1e-7)


def test_recursive_is_exact_for_probabilities_of_0_and_1():
    p = np.random.default_rng(2).choice([0.0, 1.0, 0.5, 1e-6], size=(B, T, S))
    previous = random_previous()
    np.testing.assert_allclose(
        run("recursive", p, previous), expected_attention(p, previous), rtol=1e-5, atol=1e-7
    )


def test_parallel_matches_tfa():
    """The cumprod and cumsum of appendix C.1, with the clipped divisor."""
    p, previous = np.full((1, 1, 40), 0.7), np.full((1, 1, 40), 1 / 40)
    passed = np.concatenate([np.ones((1, 1, 1)), np.cumprod(1 - p, -1)[..., :-1]], -1)
    expected = p * passed * np.cumsum(previous / np.clip(passed, 1e-10, 1), -1)
    np.testing.assert_allclose(run("parallel", p, previous), expected, rtol=1e-4, atol=1e-9)


def test_hard_stops_at_the_first_choice_after_the_previous_key():
    rng = np.random.default_rng(3)
    chosen = rng.integers(0, 2, size=(8, T, S)).astype("float64")
    previous = np.eye(S)[rng.integers(0, S, size=(8, T))]
    np.testing.assert_array_equal(run("hard", chosen, previous), hard_attention(chosen, previous))


def test_hard_equals_the_soft_mode_for_choices_of_0_and_1():
    chosen = np.random.default_rng(4).integers(0, 2, size=(B, T, S)).astype("float64")
    previous = np.eye(1, S)[None].repeat(B, 0).repeat(T, 1)
    soft = run("recursive", chosen, previous)
    np.testing.assert_allclose(run("hard", chosen, previous), soft, atol=1e-7)


def test_hard_stays_past_the_end():
    zeros, previous = np.zeros((1, 1, S)), np.eye(1, S)[None]
    attention = run("hard", zeros, previous)
    np.testing.assert_array_equal(attention, zeros)
    np.testing.assert_array_equal(run("hard", np.ones((1, 1, S)), attention), zeros)


@pytest.mark.parametrize("mode", ["parallel", "recursive", "hard"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(mode, dtype):
    previous = np.eye(1, S)[None].repeat(B, 0).repeat(T, 1)
    chosen = random_p_choose() if mode != "hard" else random_p_choose().round()
    expected = hard_attention if mode == "hard" else expected_attention
    np.testing.assert_allclose(
        run(mode, chosen, previous, dtype), expected(chosen, previous), atol=8e-3
    )


def test_modes_by_name():
    assert MODES == {"parallel": parallel, "recursive": recursive, "hard": hard}
