"""Losses, metrics, learning-rate schedules, optimizers and callbacks for `model.fit`."""

from keras_attention.training.averaging import (
    AverageCheckpoints,
    MovingAverage,
    average_weights,
)
from keras_attention.training.backup import BackupTraining
from keras_attention.training.bfloat16 import Bfloat16
from keras_attention.training.callbacks import GenerationScore, RaiseOnNonFinite, SetEpoch
from keras_attention.training.fine_tuning import discriminative_rates, enable_lora
from keras_attention.training.layouts import get_layout_map
from keras_attention.training.losses import MaskedCrossEntropy
from keras_attention.training.masking import MaskedTexts, mask_tokens
from keras_attention.training.metrics import Perplexity, TokenAccuracy
from keras_attention.training.minimum_risk import MinimumRisk
from keras_attention.training.r_drop import RDrop
from keras_attention.training.scheduled_sampling import (
    ExponentialDecay,
    InverseSigmoidDecay,
    LinearDecay,
    SamplingSchedule,
)
from keras_attention.training.schedules import LinearWarmup, Noam
from keras_attention.utils.batches import ShuffledBatches

__all__ = [
    "AverageCheckpoints",
    "BackupTraining",
    "Bfloat16",
    "ExponentialDecay",
    "GenerationScore",
    "InverseSigmoidDecay",
    "LinearDecay",
    "LinearWarmup",
    "MaskedCrossEntropy",
    "MaskedTexts",
    "MinimumRisk",
    "MovingAverage",
    "Noam",
    "Perplexity",
    "RDrop",
    "RaiseOnNonFinite",
    "SamplingSchedule",
    "SetEpoch",
    "ShuffledBatches",
    "TokenAccuracy",
    "average_weights",
    "discriminative_rates",
    "enable_lora",
    "get_layout_map",
    "mask_tokens",
]
