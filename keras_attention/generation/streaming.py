"""Generation in chunks of a few tokens."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops, tree

from keras_attention.generation.decoding_loop import run
from keras_attention.generation.generator import Generator
from keras_attention.generation.greedy_search import GreedySearch
from keras_attention.generation.hypotheses import grow_buffers
from keras_attention.generation.strategy import Strategy
from keras_attention.ops.growing_loop import stage_lengths


class Streamer:
    """Streams the tokens of a `Generator` while they are generated.

    Both parts are Keras models, because `predict_on_batch` compiles those on every backend.

    Args:
        model: a model with `encoder` and `decoder`.
        strategy: `GreedySearch` or `Sampling`. As for a `Generator`, its per-row options can be
            replaced at each call.

    Raises:
        ValueError: If the strategy is `BeamSearch`, which may replace tokens of earlier steps.
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

    def stream(
        self, source: Any, every: int = 1, strategy: Strategy | None = None
    ) -> Iterator[np.ndarray]:
        """Generates from a batch of sources and yields the new ids after every few steps.

        Args:
            source: int (batch, source), padded with 0.
            every: number of steps between two outputs.
            strategy: see `Generator.generate`.

        Yields:
            int32 (batch, num_return_sequences, new), with `new` at most `every`. Joined, they are
            the ids of `generate`, without the padding after the longest sequence.
        """
        strategy = strategy or self.strategy
        source = ops.convert_to_numpy(source)
        inputs = self._prefill.predict_on_batch({"source": source})
        inputs["options"] = strategy.options(len(source))
        limit, streamed = strategy.max_new_tokens, 0
        for max_steps in range(every, limit + every, every):
            inputs["max_steps"] = np.int32(min(max_steps, limit))
            inputs["carry"] = self._decode_loop.make_room(inputs)
            inputs["carry"] = self._decode_loop.predict_on_batch(inputs)
            position, _, _, hypotheses = inputs["carry"]
            if position > streamed:
                yield hypotheses["ids"][:, :, streamed:position]
            if position < max_steps:  # all sequences have ended
                return
            streamed = int(position)


class Prefill(Generator):
    """Keras model from a source to the inputs of `DecodeLoop`, but for `max_steps`."""

    def call(self, inputs):
        source = ops.convert_to_tensor(inputs["source"])
        length = stage_lengths(self.strategy.max_new_tokens)[0]
        source_mask, constants, carry = self.prefill(source, length)
        return {"source_mask": source_mask, "constants": constants, "carry": carry}


class DecodeLoop(Generator):
    """Keras model from the loop's carry to its carry after at most `max_steps` steps in total."""

    def call(self, inputs):
        inputs = tree.map_structure(ops.convert_to_tensor, inputs)
        step = self.bind_step(inputs["constants"])
        names = "carry", "source_mask", "max_steps", "options"
        return run(self.strategy, step, *(inputs[name] for name in names))

    def make_room(self, inputs: dict[str, Any]) -> tuple:
        """Returns the carry of `call`'s inputs with room for `max_steps` tokens."""
        position, ids, state, hypotheses = inputs["carry"]
        max_steps = inputs["max_steps"]
        if hypotheses["ids"].shape[2] >= max_steps:
            return inputs["carry"]
        length = next(
            each for each in stage_lengths(self.strategy.max_new_tokens) if each >= max_steps
        )
        state = self.decoder.grow(state, inputs["constants"], length)
        carry = position, ids, state, grow_buffers(hypotheses, length)
        # Arrays again, as those of `predict_on_batch`: Keras refuses a mixture with tensors.
        return tree.map_structure(ops.convert_to_numpy, carry)
