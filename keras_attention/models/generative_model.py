"""Base class of the models that generate."""

from typing import Any

import keras
import numpy as np

from keras_attention.generation import GenerationOutput, Generator, GreedySearch, Strategy


class GenerativeModel(keras.Model):
    """Functional Keras model with an encoder, a decoder and `generate`.

    Args:
        encoder: layer with `check(source)`, `call(source)` and `compute_mask(source)`.
        decoder: layer that follows the decoder protocol (`keras_attention.types.Decoder`).
        **graph: `inputs`, `outputs` and other arguments of a functional `keras.Model`.
    """

    def __init__(self, encoder: keras.layers.Layer, decoder: keras.layers.Layer, **graph: Any):
        super().__init__(**graph)
        self.encoder = encoder
        self.decoder = decoder
        self._generators = GeneratorCache()

    def generate(
        self, source: Any, strategy: Strategy | None = None, attention: bool = False
    ) -> GenerationOutput:
        """Generates from ids or images. Compiled once for each strategy and input shape.

        Args:
            source: the encoder's input: ids (batch, source), padded with 0 (the prompt of a causal
                language model), or images (batch, height, width, 3).
            strategy: `GreedySearch`, `BeamSearch` or `Sampling`; `None` is `GreedySearch()`.
            attention: whether to return the attention weights.

        Returns:
            A `GenerationOutput` of NumPy arrays.

        Raises:
            ValueError: if the source has the wrong rank or size, an id is not in the vocabulary, or
                the model has too few positions.
        """
        source, strategy = np.asarray(source), strategy or GreedySearch()
        self.check(source, strategy)
        return self._generators.get(Generator, self, strategy, attention).generate(source)

    def check(self, source: np.ndarray, strategy: Strategy) -> None:
        """Raises a `ValueError` unless the model can generate from this source."""
        self.encoder.check(source)


class GeneratorCache:
    """Compiled generators of a model, one for each class, strategy and further argument.

    It is not a dictionary on the model, because Keras would track and save that.
    """

    def __init__(self):
        self._generators = {}

    def get(self, cls: type, model: GenerativeModel, strategy: Strategy, *args: Any) -> Any:
        """Returns `cls(model, strategy, *args)`, created at the first call."""
        key = (cls, repr(strategy), *args)
        if key not in self._generators:
            self._generators[key] = cls(model, strategy, *args)
        return self._generators[key]
