"""Generation a few steps at a time, for those who watch."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_attention.generation.generator import Generator
from keras_attention.generation.greedy import OneByOne
from keras_attention.generation.strategy import Strategy


class Streamer:
    """The steps of a `Generator`, given out as they are taken.

    Both parts are Keras models because `predict_on_batch` compiles those on every backend.

    Args:
        model: has `.encoder` and `.decoder`, which keep the contracts of this library.
        strategy: `Greedy` or `Sample`.

    Raises:
        ValueError: if the strategy may take back what it wrote, as `Beam` does.
    """

    def __init__(self, model: Any, strategy: Strategy):
        if not isinstance(strategy, OneByOne):
            raise ValueError(
                "strategy: expected Greedy or Sample to stream, which take no token back. "
                f"Received: {strategy!r}"
            )
        self.strategy = strategy
        generator = Generator(model, strategy)
        self._begin, self._go_on = _Begin(generator), _GoOn(generator)

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
        taken, until = 0, min(every, self.strategy.max_length)
        while taken < until:
            carry = self._go_on.predict_on_batch({**given, "until": np.int32(until)})
            before, taken = taken, int(carry["t"])
            if taken > before:
                yield carry["found"]["ids"][:, :, before:taken]
            ended = taken < until or taken >= self.strategy.max_length
            until = taken if ended else min(taken + every, self.strategy.max_length)
            given = {**given, "carry": carry}
