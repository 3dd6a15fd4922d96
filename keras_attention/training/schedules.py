"""Learning-rate schedules with warm-up."""

from __future__ import annotations

import keras
from keras import ops

from keras_attention.types import Tensor
from keras_attention.utils.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class Noam(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate of the Transformer (Vaswani et al. 2017, equation 3).

        scale * hidden_dim ** -0.5 * min(s ** -0.5, s * warmup_steps ** -1.5)

    It grows linearly to `scale * (hidden_dim * warmup_steps) ** -0.5`, and then decreases with the
    inverse square root of the step. The paper counts steps from 1 and Keras from 0: `s = step + 1`.

    Args:
        hidden_dim: width of the model, `d_model` in the paper.
        warmup_steps: number of steps of linear growth.
        scale: constant factor, 1 in the paper.

    Raises:
        ValueError: If `hidden_dim`, `warmup_steps` or `scale` is not positive.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> rate = Noam(hidden_dim=256, warmup_steps=100)
    >>> round(float(rate(99)), 6)  # the 100th step: the peak, 1 / sqrt(256 * 100)
    0.00625
    """

    def __init__(self, hidden_dim: int, warmup_steps: int, scale: float = 1.0):
        check_positive("hidden_dim", hidden_dim)
        check_positive("warmup_steps", warmup_steps)
        check_positive("scale", scale)
        self.hidden_dim = hidden_dim
        self.warmup_steps = warmup_steps
        self.scale = scale

    @classmethod
    def with_peak(cls, peak: float, warmup_steps: int) -> Noam:
        """Returns the schedule with this highest learning rate.

        >>> round(float(Noam.with_peak(1e-3, warmup_steps=100)(99)), 6)
        0.001
        """
        check_positive("peak", peak)
        check_positive("warmup_steps", warmup_steps)
        return cls(1, warmup_steps, scale=peak * warmup_steps**0.5)

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32") + 1
        warmup = step * self.warmup_steps**-1.5
        return self.scale * self.hidden_dim**-0.5 * ops.minimum(ops.rsqrt(step), warmup)

    def get_config(self) -> dict:
        return {
            "hidden_dim": self.hidden_dim,
            "warmup_steps": self.warmup_steps,
            "scale": self.scale,
        }


@keras.saving.register_keras_serializable(package="keras_attention")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to `peak`, then constant or linear decay to 0.

    The learning rate of the first step is `peak / warmup_steps`, that of step `warmup_steps` is
    `peak`.

    Args:
        peak: highest learning rate.
        warmup_steps: number of steps of the warm-up.
        decay_steps: number of steps of the decay after the warm-up; `None` keeps the rate at
            `peak`.

    Raises:
        ValueError: If `peak`, `warmup_steps` or `decay_steps` is not positive.

    Example:

    >>> rate = LinearWarmup(1.0, warmup_steps=4, decay_steps=2)
    >>> [float(rate(step)) for step in range(7)]
    [0.25, 0.5, 0.75, 1.0, 0.5, 0.0, 0.0]
    """

    def __init__(self, peak: float, warmup_steps: int, decay_steps: int | None = None):
        check_positive("peak", peak)
        check_positive("warmup_steps", warmup_steps)
        if decay_steps is not None:
            check_positive("decay_steps", decay_steps)
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32") + 1
        factor = ops.minimum(step / self.warmup_steps, 1.0)
        if self.decay_steps is not None:
            decay = 1 - (step - self.warmup_steps) / self.decay_steps
            factor = ops.minimum(factor, ops.maximum(decay, 0.0))
        return self.peak * factor

    def get_config(self) -> dict:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
        }
