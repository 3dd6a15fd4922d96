"""Attention layers and models for Keras, text generation, and verified exports.

Importing the package imports what Keras needs to load a saved model. The packages that need more
than Keras (tokenizers, tasks, exports, figures) are imported when they are first used:

>>> import keras_attention
>>> layer = keras_attention.layers.BahdanauAttention(units=8)
>>> "viz" in dir(keras_attention)
True
"""

import importlib
from types import ModuleType

import keras

BACKENDS = ("tensorflow", "jax", "torch")

if keras.backend.backend() not in BACKENDS:
    raise ImportError(
        f"Keras's backend (KERAS_BACKEND) must be one of {BACKENDS}. "
        f"Received: {keras.backend.backend()!r}"
    )

from keras_attention import decoders, generation, layers, models, ops, training  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "datasets",
    "decoders",
    "export",
    "generation",
    "images",
    "interop",
    "layers",
    "metrics",
    "models",
    "ops",
    "recipes",
    "tasks",
    "text",
    "training",
    "viz",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
