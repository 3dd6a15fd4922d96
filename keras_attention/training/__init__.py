"""Losses, schedules and callbacks for `model.fit`."""

from keras_attention.training.callbacks import GenerationScore
from keras_attention.training.losses import MaskedCrossEntropy, Perplexity, TokenAccuracy
from keras_attention.training.scheduled_sampling import (
    ExponentialDecay,
    InverseSigmoidDecay,
    LinearDecay,
    SamplingSchedule,
)
from keras_attention.training.schedules import LinearWarmup, Noam

__all__ = [
    "ExponentialDecay",
    "GenerationScore",
    "InverseSigmoidDecay",
    "LinearDecay",
    "LinearWarmup",
    "MaskedCrossEntropy",
    "Noam",
    "Perplexity",
    "SamplingSchedule",
    "TokenAccuracy",
]
