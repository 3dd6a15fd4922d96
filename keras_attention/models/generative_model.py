"""Base class of the models that generate."""

from typing import Any

import keras
import numpy as np

from keras_attention.generation import GenerationOutput, Generator, GreedySearch, Strategy
from keras_attention.utils.compiled import CompiledModels, recompile_on_layer_change

MIN_CAPACITY = 16  # of the buffers and caches of a compiled generation, in tokens


@recompile_on_layer_change
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
        self._compiled_models = CompiledModels()

    def generate(
        self, source: Any, strategy: Strategy | None = None, return_attention: bool = False
    ) -> GenerationOutput:
        """Generates from ids or images.

        The generation is compiled for each strategy and shape of the source, and again when layers
        change: LoRA, quantization, another dtype policy. Strategies that differ only in options
        that a request can replace (`Strategy.options`) share the compiled function, if their
        `max_new_tokens` are the same when they are rounded up to a power of two. The functions of
        the last 8 strategies are kept.

        Args:
            source: the encoder's input: ids (batch, source), padded with 0 (the prompt of a causal
                language model), or images (batch, height, width, 3).
            strategy: `GreedySearch`, `BeamSearch` or `Sampling`; `None` is `GreedySearch()`.
            return_attention: whether to return the attention weights.

        Returns:
            A `GenerationOutput` of NumPy arrays.

        Raises:
            ValueError: if the source has the wrong rank or size, an id is not in the vocabulary, or
                the model has too few positions.
        """
        source, strategy = np.asarray(source), strategy or GreedySearch()
        self.check(source, strategy)
        return self.compiled_model(Generator, source, strategy, return_attention).generate(
            source, strategy
        )

    def compiled_model(self, cls: type, source: np.ndarray, strategy: Strategy, *args: Any) -> Any:
        """Returns `cls(self, compiled strategy, *args)`, which runs this strategy for this source.

        Args:
            cls: `Generator` or `Streamer`.
            source: the encoder's input.
            strategy: the strategy; the compiled one has other per-row options, and at least as many
                `max_new_tokens`.
            *args: further arguments of `cls`.
        """
        capacity = self._capacity(source, strategy.max_new_tokens)
        general = strategy.with_default_options(capacity)
        key = (cls, type(general), repr(general), *args)
        return self._compiled_models.get(self, key, lambda: cls(self, general, *args))

    def max_steps(self, source: np.ndarray) -> int | None:
        """Returns how many tokens the decoder has positions for, `None` for any number."""
        return getattr(self.decoder, "max_positions", None)

    def _capacity(self, source, max_new_tokens):
        """Rounds a number of tokens up to a power of two, as far as there are positions."""
        capacity = max(MIN_CAPACITY, 1 << (max_new_tokens - 1).bit_length())
        max_steps = self.max_steps(source)
        return capacity if max_steps is None else max(max_new_tokens, min(capacity, max_steps))

    def check(self, source: np.ndarray, strategy: Strategy) -> None:
        """Raises a `ValueError` unless the model can generate from this source."""
        self.encoder.check(source)
