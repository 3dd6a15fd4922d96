"""Small Transformers with large random weights, and their CTranslate2 models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.export.ctranslate2.writer import Generation, write_model
from keras_attention.generation import Strategy
from keras_attention.models import transformer
from keras_attention.ops.ids import END
from keras_attention.utils.atomic_io import write_json

SIZES = {"size": "tiny", "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 12, "num_heads": 2}
VOCABULARY = ["[PAD]", "[START]", "[END]", "[UNK]", *"abcdefgh"]


def small_model(build: Callable, **options: Any) -> keras.Model:
    sizes = (len(VOCABULARY),) * (2 if build is transformer else 1)
    return fill(build(*sizes, **{**SIZES, **options}))


def fill(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        value = rng.normal(0, 0.5, weight.shape)
        if "embeddings" in weight.name:
            value[END] = 0.0  # so that texts do not end at once
        weight.assign(value)
    return model


def write(model: keras.Model, strategy: Strategy, folder: Path) -> None:
    """Writes a model without tokenizers and verification."""
    write_model(Generation(model, strategy, [VOCABULARY] * 2, 16), folder)
    write_json(folder / "export.json", {"search": keras.saving.serialize_keras_object(strategy)})


def build_transformer(source: int, target: int, **options: Any) -> keras.Model:
    return transformer(source, target, **{**SIZES, "num_layers": 1, **options})
