"""Generation a few steps at a time, for whoever watches."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_attention.generation.generator import Generator
from keras_attention.generation.greedy_search import OneByOne
from keras_attention.generation.strategy import Strategy


class Streamer:
    """The steps of a `Generator`, given out as they are taken.

    Both parts are Keras models because `predict_on_batch` compiles those on every backend.

    Args:
        model: a language model, with `.encoder` and `.decoder`.
        strategy: `GreedySearch` or `Sampling`.

    Raises:
        ValueError: if the strategy may take back what it wrote, as `BeamSearch` does.
    """

    def __init__(self, model: Any, strategy: Strategy):
        if not isinstance(strategy, OneByOne):
            raise ValueError(
                "strategy: expected GreedySearch or Sampling to stream, which take no token back. "
                f"Received: {strategy!r}"
            )
        self.strategy = strategy
        self._begin, self._go_on = Begin(model, strategy), GoOn(model, strategy)

    def stream(self, source: Any, every: int = 1) -> Iterator[np.ndarray]:
        """Generates for a batch of sources, and gives the new ids of all after `every` steps.

        Args:
            source: `(batch, source)` int, padded with 0.
            every: steps.

        Yields:
            int32 `(batch, n, every or fewer)`, in all what `generate` writes, the padding after
            the longest answer left out.
        """
        given = self._begin.predict_on_batch(ops.convert_to_numpy(source))
        limit, before = self.strategy.max_new_tokens, 0
        for until in range(every, limit + every, every):
            given["until"] = np.int32(min(until, limit))
            given["carry"] = self._go_on.predict_on_batch(given)
            t, _, _, found = given["carry"]
            if t > before:
                yield found["ids"][:, :, before:t]
            if t < until:  # nothing runs any more
                return
            before = int(t)


class Begin(Generator):
    """Source to what `GoOn` takes."""

    def call(self, source):
        mask, context, carry = self.begin(source)
        return {"mask": mask, "context": context, "carry": carry}


class GoOn(Generator):
    """A carry to the carry after `until` steps in all."""

    def call(self, given):
        *others, found = given["carry"]
        # Keras casts what comes in to the policy's dtype; what was found is float32.
        carry = (*others, tree.map_structure(_as_float32, found))
        return self.go_on(given["mask"], given["context"], carry, given["until"])


def _as_float32(x):
    return ops.cast(x, "float32") if keras.backend.is_float_dtype(x.dtype) else x
