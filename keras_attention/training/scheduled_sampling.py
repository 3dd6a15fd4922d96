"""Schedules for scheduled sampling (Bengio et al. 2015, section 2.4).

A schedule is a function of the number of training steps, `i`. It returns the probability that the
decoder's input is the true previous token rather than the model's prediction, a float32 scalar that
decreases from about 1. `RNNDecoder(scheduled_sampling=schedule)` uses it and counts the steps.

References:
    Bengio et al. 2015, [Scheduled Sampling for Sequence Prediction with Recurrent Neural
    Networks](https://arxiv.org/abs/1506.03099).
"""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_attention.types import Tensor


class SamplingSchedule:
    """Base class of the schedules: `schedule(step)` is the probability of the true token."""

    def __call__(self, step: Tensor) -> Tensor:
        raise NotImplementedError("SamplingSchedule is abstract.")

    def get_config(self) -> dict:
        raise NotImplementedError("SamplingSchedule is abstract.")

    @classmethod
    def from_config(cls, config: dict) -> SamplingSchedule:
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_attention")
class LinearDecay(SamplingSchedule):
    """Linear decay: `max(floor, k - c * i)`, at most 1.

    Args:
        k: probability at step 0; above 1, the probability is 1 for the first `(k - 1) / c` steps.
        c: decrease per step.
        floor: lowest probability, the paper's epsilon.

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

    def __call__(self, step: Tensor) -> Tensor:
        return ops.clip(self.k - self.c * ops.cast(step, "float32"), self.floor, 1.0)

    def get_config(self) -> dict:
        return {"k": self.k, "c": self.c, "floor": self.floor}


@keras.saving.register_keras_serializable(package="keras_attention")
class ExponentialDecay(SamplingSchedule):
    """Exponential decay: `k ** i`.

    Args:
        k: base, between 0 and 1; usually close to 1.

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

    def __call__(self, step: Tensor) -> Tensor:
        # The logarithm is in float64, because float32 is too coarse for k close to 1.
        return ops.exp(math.log(self.k) * ops.cast(step, "float32"))

    def get_config(self) -> dict:
        return {"k": self.k}


@keras.saving.register_keras_serializable(package="keras_attention")
class InverseSigmoidDecay(SamplingSchedule):
    """Inverse sigmoid decay: `k / (k + exp(i / k))`, which is `sigmoid(log(k) - i / k)`.

    The probability is 1/2 at step `k * log(k)`.

    Args:
        k: at least 1; larger values decay later.

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

    def __call__(self, step: Tensor) -> Tensor:
        return ops.sigmoid(math.log(self.k) - ops.cast(step, "float32") / self.k)

    def get_config(self) -> dict:
        return {"k": self.k}
