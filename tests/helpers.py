"""Helpers that the tests share; import them with `from helpers import array`."""

from typing import Any

import numpy as np
from keras import ops


def array(x: Any) -> np.ndarray:
    """Returns a tensor of any backend as a NumPy array."""
    return ops.convert_to_numpy(x)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns float32 numbers drawn from the standard normal distribution."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")
