"""What every model that generates has: an encoder, a decoder, and `generate`."""

from typing import Any

import keras
import numpy as np

from keras_attention.generation import GenerationOutput, Generator, GreedySearch, Strategy


class GenerativeModel(keras.Model):
    """Base of the models that generate, functional Keras models with two more layers to name.

    Args:
        encoder: has `check(source)`, `encoder(source)` and `compute_mask(source)`.
        decoder: has `start` and `step`, as the decoders of this library.
        **graph: `inputs`, `outputs` and so on of a functional model.
    """

    def __init__(self, encoder: keras.layers.Layer, decoder: keras.layers.Layer, **graph: Any):
        super().__init__(**graph)
        self.encoder = encoder
        self.decoder = decoder
        self._compiled = _Compiled()

    def generate(
        self, source: Any, strategy: Strategy | None = None, attention: bool = False
    ) -> GenerationOutput:
        """Generates from ids; compiled once for each strategy and shape.

        Args:
            source: what the encoder reads: ids `(batch, source)`, padded with 0 (a language model's
                are the prompt), or images `(batch, height, width, 3)`.
            strategy: `GreedySearch`, `BeamSearch` or `Sampling`; None is `GreedySearch()`.
            attention: whether to return where each token looked.

        Returns:
            `GenerationOutput` of NumPy arrays.

        Raises:
            ValueError: if the source has another rank or length 0, an id is not in the vocabulary,
                an image is of another size, or there are more positions than the model has.
        """
        source, strategy = np.asarray(source), strategy or GreedySearch()
        self.check(source, strategy)
        return self._compiled.get(Generator, self, strategy, attention).generate(source)

    def check(self, source: np.ndarray, strategy: Strategy) -> None:
        """Raises a `ValueError` unless the model can read this source and go on from it."""
        self.encoder.check(source)


class _Compiled:
    """What was compiled, by kind and strategy. No dict on the model: Keras would save it."""

    def __init__(self):
        self._made = {}

    def get(self, kind, model, strategy, *options):
        key = (kind, repr(strategy), *options)
        if key not in self._made:
            self._made[key] = kind(model, strategy, *options)
        return self._made[key]
