"""Distribution of the noise, and its equality with a hash in Python's integers."""

import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.ops.noise import as_int32, gumbel, uniform

M = 0xFFFFFFFF


def seeds(*numbers):
    return np.array(numbers, "int32")


def scrambled(x):
    """Computes the hash in Python's integers."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * factor & M
    return x ^ (x >> 16)


@pytest.mark.parametrize("seed, step", [(0, 0), (7, 3), (-1, 11), (2**40 + 5, 63)])
def test_uniform_is_the_hash_of_seed_step_and_index(seed, step):
    seeds = np.array([as_int32(seed), 5], "int32")
    result = array(uniform(seeds, step, (2, 3, 4)))
    assert result.dtype == "float32"
    for row, row_seed in zip(result, (seed, 5), strict=True):
        bits = scrambled(scrambled(row_seed & M) ^ step)
        expected = [((scrambled(index ^ bits) & 0x7FFFFF) + 0.5) / 2**23 for index in range(12)]
        np.testing.assert_array_equal(row.ravel(), np.array(expected, "float32"))


def test_uniform_noise_is_uniformly_distributed():
    x = array(uniform(ops.arange(400), 1, (400, 5, 50))).ravel().astype("float64")
    n = x.size
    assert 0 < x.min() and x.max() < 1
    assert abs(x.mean() - 1 / 2) < 4 * np.sqrt(1 / 12 / n)
    assert abs(x.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / n)
    counts = np.histogram(x, bins=100, range=(0, 1))[0]
    chi_square = ((counts - n / 100) ** 2 / (n / 100)).sum()
    assert chi_square < 99 + 4 * np.sqrt(2 * 99)


@pytest.mark.parametrize("other", [(5, 2), (6, 1)])
def test_steps_and_seeds_are_independent(other):
    x = array(uniform(seeds(5), 1, (1, 100_000))).ravel().astype("float64")
    y = array(uniform(seeds(other[0]), other[1], (1, 100_000))).ravel().astype("float64")
    assert abs(np.corrcoef(x, y)[0, 1]) < 4 / np.sqrt(x.size)
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 4 / np.sqrt(x.size)


def test_gumbel_noise_is_gumbel_distributed():
    x = array(gumbel(seeds(3), 0, (1, 100_000))).ravel().astype("float64")
    assert np.isfinite(x).all()
    assert abs(x.mean() - np.euler_gamma) < 4 * np.pi / np.sqrt(6 * x.size)
    assert abs(np.mean(x < 1.0) - np.exp(-np.exp(-1.0))) < 4 * 0.5 / np.sqrt(x.size)


def test_step_may_be_a_tensor():
    step = ops.convert_to_tensor(4, "int32")
    np.testing.assert_array_equal(
        array(uniform(seeds(1), step, (1, 8))), array(uniform(seeds(1), 4, (1, 8)))
    )
