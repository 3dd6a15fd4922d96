"""How likely a decoder in training is to be fed the true token (Bengio et al. 2015, section 2.4).

A schedule takes the number of training steps done, `i`, and gives the probability of the true
token, a float32 scalar that starts near 1 and falls. `RNNDecoder(scheduled_sampling=schedule)`
counts the steps and feeds its own prediction otherwise.

References:
    Bengio et al. 2015, [Scheduled Sampling for Sequence Prediction with Recurrent Neural
    Networks](https://arxiv.org/abs/1506.03099).
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


class SamplingSchedule:
    """Base class: `schedule(step)` is the probability of feeding the true token at that step."""

    def __call__(self, step: Any):
        raise NotImplementedError("abstract")

    def get_config(self) -> dict:
        raise NotImplementedError("abstract")

    @classmethod
    def from_config(cls, config: dict) -> SamplingSchedule:
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_attention")
class LinearDecay(SamplingSchedule):
    """`max(floor, k - c * i)`, and never above 1.

    Args:
        k: The probability at step 0; above 1 it stays at 1 for the first `(k - 1) / c` steps.
        c: How much it falls at each step.
        floor: The lowest probability, the paper's epsilon.

    Raises:
        ValueError: If `k` or `c` is not positive, or `floor` is not in [0, 1).

    Example:

    >>> schedule = LinearDecay(k=1.0, c=0.25, floor=0.5)
    >>> [float(schedule(step)) for step in range(4)]
    [1.0, 0.75, 0.5, 0.5]
    """

    def __init__(self, k: float = 1.0, c: float = 1e-4, floor: float = 0.0):
        if not k > 0:
            raise ValueError(f"`k` must be positive. Received: k={k}")
        if not c > 0:
            raise ValueError(f"`c` must be positive. Received: c={c}")
        if not 0 <= floor < 1:
            raise ValueError(f"`floor` must be in [0, 1). Received: floor={floor}")
        self.k = k
        self.c = c
        self.floor = floor

    def __call__(self, step: Any):
        return ops.clip(self.k - self.c * ops.cast(step, "float32"), self.floor, 1.0)

    def get_config(self) -> dict:
        return {"k": self.k, "c": self.c, "floor": self.floor}


@keras.saving.register_keras_serializable(package="keras_attention")
class ExponentialDecay(SamplingSchedule):
    """`k ** i`.

    Args:
        k: The base, between 0 and 1; near 1, for it is raised to the number of steps.

    Raises:
        ValueError: If `k` is not in (0, 1).

    Example:

    >>> schedule = ExponentialDecay(k=0.5)
    >>> [round(float(schedule(step)), 6) for step in range(3)]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, k: float):
        if not 0 < k < 1:
            raise ValueError(f"`k` must be in (0, 1). Received: k={k}")
        self.k = k

    def __call__(self, step: Any):
        # The logarithm is Python's: a k near 1 loses too many digits in float32.
        return ops.exp(math.log(self.k) * ops.cast(step, "float32"))

    def get_config(self) -> dict:
        return {"k": self.k}


@keras.saving.register_keras_serializable(package="keras_attention")
class InverseSigmoidDecay(SamplingSchedule):
    """`k / (k + exp(i / k))`, which is `sigmoid(log(k) - i / k)`: flat, steep, flat again.

    It is 1/2 at step `k * log(k)`.

    Args:
        k: The speed, at least 1; the larger, the later the fall.

    Raises:
        ValueError: If `k` is below 1.

    Example:

    >>> schedule = InverseSigmoidDecay(k=1.0)
    >>> float(schedule(0)), round(float(schedule(100)), 6)
    (0.5, 0.0)
    """

    def __init__(self, k: float):
        if not k >= 1:
            raise ValueError(f"`k` must be at least 1. Received: k={k}")
        self.k = k

    def __call__(self, step: Any):
        return ops.sigmoid(math.log(self.k) - ops.cast(step, "float32") / self.k)

    def get_config(self) -> dict:
        return {"k": self.k}
