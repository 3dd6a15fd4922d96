"""Runner of a Keras model."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.generation import Generator, Strategy
from keras_attention.utils.compiled import predict_on_batch, recompile_on_layer_change


@recompile_on_layer_change
class Classifier(keras.Model):
    """Functional Keras model from ids to `probabilities`."""


class ModelRunner:
    """Runs a Keras model: generation for a model with a strategy, else class probabilities.

    `export.saved_model.runner.SavedModelRunner` and `export.tflite.runner.TFLiteRunner` run
    exported files.

    Args:
        model: a `GenerativeModel`, or an `EncoderOnly` that returns logits.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling` for a `GenerativeModel`, else `None`.
    """

    default_workers = 1

    def __init__(self, model: keras.Model, strategy: Strategy | None = None):
        self.model = model
        self.strategy = strategy
        if strategy is None:
            probabilities = ops.softmax(ops.cast(model.output, "float32"))
            self._classifier = Classifier(model.input, {"probabilities": probabilities})

    def __call__(self, model_inputs: Any, details: bool = False) -> dict[str, np.ndarray]:
        """Runs the compiled model.

        Args:
            model_inputs: ids `(batch, length)` or pixels.
            details: whether to return attention weights.

        Returns:
            `ids` and `scores`, and with details `attention`, as `GenerationOutput`; or
            `probabilities`.
        """
        if self.strategy is None:
            return predict_on_batch(self._classifier, model_inputs)
        output = self.model.generate(model_inputs, self.strategy, return_attention=details)
        return {name: x for name, x in output._asdict().items() if x is not None}

    def graph(self, details: bool = False, static: bool = False) -> Callable:
        """Returns the function that an export traces, from a dictionary to a dictionary.

        Its inputs are `source` and, of a model that generates, options of the strategy.

        Args:
            details: whether to return attention weights.
            static: whether all shapes are static, also those of caches.
        """
        if self.strategy is None:
            return lambda inputs: self._classifier(inputs["source"])
        return Generator(self.model, self.strategy, details, static_caches=static)

    def __repr__(self):
        return f"{type(self).__name__}({self.model.name!r}, {self.strategy!r})"
