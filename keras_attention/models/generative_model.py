"""Base class of the models that generate."""

from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.generation import GenerationOutput, Generator, GreedySearch, Strategy
from keras_attention.types import Tensor
from keras_attention.utils.compiled import CompiledModels, recompile_on_layer_change

# The model in whose training step the loss computes the logits itself.
_in_train_step: ContextVar[Any] = ContextVar("model", default=None)
MIN_CAPACITY = 16  # tokens in the buffers and caches of a compiled generation


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

    def output_vectors(self, inputs: Any, training: bool) -> Tensor:
        """Returns the vectors `(batch, time, D)` that the output projection turns into logits."""
        raise NotImplementedError("GenerativeModel is abstract.")

    # The next four methods are those of `keras.Model` for a loss with `block_size`, which computes
    # the logits itself.

    def train_step(self, *args: Any) -> Any:
        if self._loss_of_vectors() is None:
            return super().train_step(*args)
        token = _in_train_step.set(self)
        try:
            return super().train_step(*args)
        finally:
            _in_train_step.reset(token)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and _in_train_step.get() is self:
            return self.output_vectors(inputs, training=True)
        return super().call(inputs, training=training, mask=mask)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        if _in_train_step.get() is not self:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        weights = self.decoder.embedding.output_weights()
        metrics = []
        if self._compile_metrics is not None:
            if not self._compile_metrics.built:  # Keras builds them from the first logits
                self._compile_metrics.build(y, self.output)
            if self._compile_metrics._user_weighted_metrics:
                raise ValueError("A loss with `block_size` does not support `weighted_metrics`.")
            metrics = self._compile_metrics.metrics
        loss = self.loss.from_vectors(y, y_pred, *weights, sample_weight, metrics)
        return ops.sum([loss, *map(self._aggregate_additional_loss, self.losses)])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        if _in_train_step.get() is not self:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        return self.get_metrics_result()  # `compute_loss` has updated them

    def _loss_of_vectors(self):
        """Returns the loss if it computes the logits, else `None`."""
        is_quantized = self.decoder.embedding.tokens.quantization_mode is not None
        takes_vectors = getattr(self.loss, "block_size", None) is not None and not is_quantized
        return self.loss if takes_vectors else None

    def generate(
        self, source: Any, strategy: Strategy | None = None, return_attention: bool = False
    ) -> GenerationOutput:
        """Generates from ids or images.

        The generation is compiled for each strategy, on JAX also for each shape of the source, and
        again when layers change: LoRA, quantization, another dtype policy. Strategies that differ
        only in options that a request can replace (`Strategy.options`) share the compiled
        function, if their `max_new_tokens` are the same when they are rounded up to a power of
        two. The functions of the last 8 strategies are kept.

        Args:
            source: the encoder's input: ids (batch, source), padded with 0 (the prompt of a causal
                language model), or images (batch, height, width, 3).
            strategy: `GreedySearch`, `BeamSearch` or `Sampling`; `None` is `GreedySearch()`.
            return_attention: whether to return the attention weights.

        Returns:
            A `GenerationOutput` of NumPy arrays.

        Raises:
            ValueError: If the source has the wrong rank or size, an id is not in the vocabulary, or
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
