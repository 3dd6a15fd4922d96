"""Encoder, decoder and strategy in one compiled graph."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.generation.strategy import GenerationOutput, Strategy


class Generator(keras.Model):
    """Generation as a Keras model: source in, `GenerationOutput` out as a dictionary.

    `predict_on_batch` compiles it on every backend; an export traces `call`.

    Args:
        model: has `.encoder` and `.decoder`, which keep the contracts of this library.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling`.
        attention: whether to return where each token looked.
    """

    def __init__(self, model: Any, strategy: Strategy, attention: bool = False, **kwargs):
        super().__init__(dtype=model.decoder.dtype_policy, **kwargs)
        self.encoder, self.decoder = model.encoder, model.decoder
        self.strategy = strategy
        self.attention = attention
        self.supports_masking = True  # or Keras warns where the encoder hands the source on

    def call(self, source, options=None):
        """Source `(batch, ...)` -> dictionary of `ids`, `scores` and maybe `attention`.

        Options are the strategy's for each row, where they are others than its own.
        """
        mask, context, carry = self.begin(source)
        *_, found = self.go_on(mask, context, carry, self.strategy.max_new_tokens, options)
        found = self.strategy.finish(found)._asdict()
        return {name: x for name, x in found.items() if x is not None}

    def begin(self, source) -> tuple:
        """Reads the source: its mask, the decoder's context, and the strategy's first carry."""
        mask = self.encoder.compute_mask(source)
        context, state = self.decoder.start(
            self.encoder(source),
            mask,
            num_beams=self.strategy.num_beams,
            max_length=self.strategy.max_new_tokens,
        )
        return mask, context, self.strategy.first(state, mask, self.attention)

    def go_on(self, mask, context, carry: tuple, until, options=None) -> tuple:
        """Goes on from a carry until so many steps were taken in all."""
        return_weights = self.attention or bool(getattr(self.strategy, "coverage_penalty", 0))

        def step(ids, position, state):
            return self.decoder.step(ids, position, state, context, return_weights)

        return self.strategy.go_on(step, carry, mask, until, options)

    def generate(self, source: Any) -> GenerationOutput:
        """Compiled generation of one batch, as NumPy arrays."""
        source = ops.convert_to_numpy(source)
        rows = len(source)
        if not rows:  # compilers want a row
            source = np.zeros_like(source, shape=(1, *source.shape[1:]))
        found = self.predict_on_batch(source)
        return GenerationOutput(**{name: np.asarray(x)[:rows] for name, x in found.items()})
