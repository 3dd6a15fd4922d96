"""Generation in chunks of a few tokens."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_attention.generation.generator import Generator
from keras_attention.generation.greedy_search import GreedySearch
from keras_attention.generation.strategy import Strategy


class Streamer:
    """Streams the tokens of a `Generator` while they are generated.

    Both parts are Keras models, because `predict_on_batch` compiles those on every backend.

    Args:
        model: a model with `encoder` and `decoder`.
        strategy: `GreedySearch` or `Sampling`.

    Raises:
        ValueError: if the strategy is `BeamSearch`, which may replace tokens of earlier steps.
    """

    def __init__(self, model: Any, strategy: Strategy):
        if not isinstance(strategy, GreedySearch):
            raise ValueError(
                "`strategy` must be GreedySearch or Sampling to stream, because beam search may "
                f"replace tokens of earlier steps. Received: strategy={strategy!r}"
            )
        self.strategy = strategy
        self._prefill = Prefill(model, strategy)
        self._decode_loop = DecodeLoop(model, strategy)

    def stream(self, source: Any, every: int = 1) -> Iterator[np.ndarray]:
        """Generates from a batch of sources and yields the new ids after every few steps.

        Args:
            source: int (batch, source), padded with 0.
            every: number of steps between two outputs.

        Yields:
            int32 (batch, num_return_sequences, new), with `new` at most `every`. Joined, they are
            the ids of `generate`, without the padding after the longest sequence.
        """
        inputs = self._prefill.predict_on_batch(ops.convert_to_numpy(source))
        limit, streamed = self.strategy.max_new_tokens, 0
        for max_steps in range(every, limit + every, every):
            inputs["max_steps"] = np.int32(min(max_steps, limit))
            inputs["carry"] = self._decode_loop.predict_on_batch(inputs)
            position, _, _, hypotheses = inputs["carry"]
            if position > streamed:
                yield hypotheses["ids"][:, :, streamed:position]
            if position < max_steps:  # all sequences have ended
                return
            streamed = int(position)


class Prefill(Generator):
    """Keras model from a source to the inputs of `DecodeLoop`, but for `max_steps`."""

    def call(self, source):
        source_mask, constants, carry = self.prefill(source)
        return {"source_mask": source_mask, "constants": constants, "carry": carry}


class DecodeLoop(Generator):
    """Keras model from the loop's carry to its carry after at most `max_steps` steps in total."""

    def call(self, inputs):
        *others, hypotheses = inputs["carry"]
        # Keras casts inputs to the compute dtype, but the loop keeps hypotheses in float32.
        carry = (*others, tree.map_structure(_as_float32, hypotheses))
        return self.decode(inputs["source_mask"], inputs["constants"], carry, inputs["max_steps"])


def _as_float32(x):
    return ops.cast(x, "float32") if keras.backend.is_float_dtype(x.dtype) else x
