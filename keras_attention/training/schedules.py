"""Learning-rate schedules with a warm-up."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_attention")
class Noam(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of the Transformer (Vaswani et al. 2017, equation 3).

    `scale * width ** -0.5 * min(s ** -0.5, s * warmup_steps ** -1.5)`: it grows linearly to
    `scale * (width * warmup_steps) ** -0.5` and then falls as the inverse square root of the step.
    The paper counts steps from 1 and Keras from 0, so `s = step + 1`.

    Args:
        width: Width of the model, `d_model` in the paper.
        warmup_steps: Number of steps that the rate grows for.
        scale: Factor on the whole; 1 in the paper.

    Raises:
        ValueError: If `width`, `warmup_steps` or `scale` is not positive.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> rate = Noam(width=256, warmup_steps=100)
    >>> round(float(rate(99)), 6)  # the 100th step: the peak, 1 / sqrt(256 * 100)
    0.00625
    """

    def __init__(self, width: int, warmup_steps: int, scale: float = 1.0):
        check_positive(width=width, warmup_steps=warmup_steps, scale=scale)
        self.width = width
        self.warmup_steps = warmup_steps
        self.scale = scale

    @classmethod
    def with_peak(cls, peak: float, warmup_steps: int) -> Noam:
        """The same course, given by its highest rate instead of a width.

        >>> round(float(Noam.with_peak(1e-3, warmup_steps=100)(99)), 6)
        0.001
        """
        check_positive(peak=peak, warmup_steps=warmup_steps)
        return cls(1, warmup_steps, scale=peak * warmup_steps**0.5)

    def __call__(self, step: Any):
        step = ops.cast(step, "float32") + 1
        rise = step * self.warmup_steps**-1.5
        return self.scale * self.width**-0.5 * ops.minimum(ops.rsqrt(step), rise)

    def get_config(self) -> dict:
        return {"width": self.width, "warmup_steps": self.warmup_steps, "scale": self.scale}


@keras.saving.register_keras_serializable(package="keras_attention")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Grows linearly to `peak`, and then stays there or falls linearly to 0.

    The first step has the rate `peak / warmup_steps` and step number `warmup_steps` has `peak`.

    Args:
        peak: The highest rate.
        warmup_steps: Number of steps that the rate grows for.
        decay_steps: Number of steps after the warm-up in which the rate falls to 0; `None` keeps it
            at `peak`.

    Raises:
        ValueError: If `peak`, `warmup_steps` or `decay_steps` is not positive.

    Example:

    >>> rate = LinearWarmup(1.0, warmup_steps=4, decay_steps=2)
    >>> [float(rate(step)) for step in range(7)]
    [0.25, 0.5, 0.75, 1.0, 0.5, 0.0, 0.0]
    """

    def __init__(self, peak: float, warmup_steps: int, decay_steps: int | None = None):
        check_positive(peak=peak, warmup_steps=warmup_steps)
        if decay_steps is not None:
            check_positive(decay_steps=decay_steps)
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps

    def __call__(self, step: Any):
        step = ops.cast(step, "float32") + 1
        share = ops.minimum(step / self.warmup_steps, 1.0)
        if self.decay_steps is not None:
            left = 1 - (step - self.warmup_steps) / self.decay_steps
            share = ops.minimum(share, ops.maximum(left, 0.0))
        return self.peak * share

    def get_config(self) -> dict:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
        }


def check_positive(**arguments: float) -> None:
    """Raises ValueError for the first argument that is not above 0."""
    for name, value in arguments.items():
        if not value > 0:
            raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
