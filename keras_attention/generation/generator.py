"""Generation as a Keras model: encoder, decoder and strategy in one compiled graph."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_attention.generation.decoding_loop import run, run_growing
from keras_attention.generation.strategy import GenerationOutput, Strategy
from keras_attention.ops.growing_loop import STAGE_LENGTH
from keras_attention.types import Mask, Tensor
from keras_attention.utils.compiled import predict_on_batch, recompile_on_layer_change


@recompile_on_layer_change
class Generator(keras.Model):
    """Keras model from a source to the fields of a `GenerationOutput`.

    `predict_on_batch` compiles it on every backend; an export traces `call`.

    Args:
        model: a `GenerativeModel`: its `encoder` and `decoder` are used.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling`.
        return_attention: whether to return the attention weights.
        static_caches: whether caches have room for all tokens from the start, so that no shape
            changes; otherwise long ones grow.
        **kwargs: `name` and other arguments of `keras.Model`.
    """

    def __init__(
        self,
        model: Any,
        strategy: Strategy,
        return_attention: bool = False,
        static_caches: bool = False,
        **kwargs: Any,
    ):
        super().__init__(dtype=model.decoder.dtype_policy, **kwargs)
        self.encoder, self.decoder = model.encoder, model.decoder
        self.strategy = strategy
        self.return_attention = return_attention
        self.static_caches = static_caches
        self.supports_masking = True  # the source may carry a mask; without this, Keras warns
        # Options and scores stay float32, also where the layers compute in another dtype.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True

    def call(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Generates from a batch of sources.

        Args:
            inputs: `source`, the encoder's input, (batch, ...), and values that replace some of
                the strategy's per-row options.

        Returns:
            Dictionary of `ids`, `scores` and, if requested, `attention`.
        """
        inputs = tree.map_structure(ops.convert_to_tensor, dict(inputs))
        limit, source = self.strategy.max_new_tokens, inputs.pop("source")
        if self.decoder.has_cache and limit > 2 * STAGE_LENGTH and not self.static_caches:
            source_mask, constants, carry = self.prefill(source, length=0)
            return run_growing(
                self.strategy,
                self.bind_step,
                self.decoder.grow,
                constants,
                carry,
                source_mask,
                options=inputs,
            )
        source_mask, constants, carry = self.prefill(source, limit)
        *_, hypotheses = run(
            self.strategy, self.bind_step(constants), carry, source_mask, limit, options=inputs
        )
        return self.strategy.finalize(hypotheses).fields()

    def prefill(self, source: Tensor, length: int) -> tuple[Mask, Any, tuple]:
        """Encodes the source.

        Args:
            source: the encoder's input.
            length: number of steps that the caches and buffers have room for.

        Returns:
            The mask of the source, the decoder's constants, and the loop's carry.
        """
        source_mask = self.encoder.compute_mask(source)
        constants, state = self.decoder.start(
            self.encoder(source),
            source_mask,
            num_beams=self.strategy.num_beams,
            max_length=self.strategy.max_new_tokens,
            cache_length=length,
        )
        carry = self.strategy.initial_carry(state, source_mask, self.return_attention, length)
        return source_mask, constants, carry

    def bind_step(self, constants: Any) -> Callable:
        """Returns the decoder's step as strategies call it."""
        return_weights = self.return_attention or self.strategy.uses_weights

        def step(ids, position, state):
            return self.decoder.step(ids, position, state, constants, return_weights=return_weights)

        return step

    def generate(self, source: Any, strategy: Strategy | None = None) -> GenerationOutput:
        """Generates from a batch of sources and returns NumPy arrays.

        Args:
            source: the encoder's input, (batch, ...).
            strategy: a strategy that differs from the compiled one in its per-row options only, and
                has no greater `max_new_tokens`; `None` is the compiled one.
        """
        strategy = strategy or self.strategy
        source = ops.convert_to_numpy(source)
        batch = len(source)
        if not batch:  # an empty batch does not compile on every backend
            source = np.zeros_like(source, shape=(1, *source.shape[1:]))
        outputs = predict_on_batch(self, {"source": source, **strategy.options(len(source))})
        outputs = {name: np.asarray(x)[:batch] for name, x in outputs.items()}
        for name in outputs.keys() & {"ids", "attention"}:
            outputs[name] = outputs[name][:, :, : strategy.max_new_tokens]
        return GenerationOutput(**outputs)
