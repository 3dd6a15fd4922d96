"""Encoder, decoder and strategy in one compiled graph."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.generation.strategy import Generated, Strategy


class Generator(keras.Model):
    """Generation as a Keras model: source in, `Generated` out as a dictionary.

    `predict_on_batch` compiles it on every backend; an export traces `call`.

    Args:
        model: has `.encoder` and `.decoder`, which keep the contracts of this library.
        strategy: `Greedy`, `Beam` or `Sample`.
        attention: whether to return where each token looked.
    """

    def __init__(self, model: Any, strategy: Strategy, attention: bool = False, **kwargs):
        super().__init__(dtype=model.decoder.dtype_policy, **kwargs)
        self.encoder, self.decoder = model.encoder, model.decoder
        self.strategy = strategy
        self.attention = attention

    def call(self, source):
        """Source `(batch, source)` -> dictionary of `ids`, `scores` and maybe `attention`."""
        encoded = self.encoder(source)
        mask = self.encoder.compute_mask(source)
        context, state = self.decoder.start(encoded, mask, beams=self.strategy.beams)

        def step(ids, position, state):
            return self.decoder.step(ids, position, state, context)

        found = self.strategy(step, state, mask, attention=self.attention)._asdict()
        return {name: x for name, x in found.items() if x is not None}

    def generate(self, source: Any) -> Generated:
        """Compiled generation of one batch, as NumPy arrays."""
        source = ops.convert_to_numpy(source)
        rows = len(source)
        if not rows:  # compilers want a row
            source = np.zeros_like(source, shape=(1, source.shape[1]))
        found = self.predict_on_batch(source)
        return Generated(**{name: np.asarray(x)[:rows] for name, x in found.items()})
