"""A callback that scores what the model writes, rather than what it says of the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras


class GenerationScore(keras.callbacks.Callback):
    """Generates text for a validation set at the end of an epoch and scores it.

    The score goes into the epoch's logs as `name`, so that `History` keeps it and
    `ModelCheckpoint(monitor="val_bleu", mode="max")` and `EarlyStopping(monitor="val_bleu",
    mode="max")` act on it. Callbacks run in the order of their list: this one must stand before
    those that read its score, and behind `MovingAverage` for the averaged weights to be scored.

    Args:
        generate: Callable from a list of sources to a list of as many texts. It must read the
            model's weights when called; compiled code that holds them as constants keeps writing
            what the first epoch's model wrote.
        sources: The validation sources, a sequence of strings (or whatever `generate` takes).
        references: What each source should give: a string, or a list of strings.
        metric: Callable `metric(hypotheses, references)` that gives a number, such as BLEU.
        every: Score each `every`-th epoch. In other epochs the logs have no score, and Keras's
            callbacks that monitor it warn and wait.
        batch_size: How many sources `generate` is given at once.
        name: The score's name in the logs.
        verbose: 1 shows a progress bar and one example, 0 nothing.

    Raises:
        ValueError: If there are no sources, not as many references as sources, `every` or
            `batch_size` is below 1, or `generate` gives another number of texts than of sources.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> score = GenerationScore(
    ...     generate=lambda sources: [text.upper() for text in sources],
    ...     sources=["a", "b"],
    ...     references=["A", "c"],
    ...     metric=lambda hypotheses, references: np.mean(np.equal(hypotheses, references)),
    ...     name="val_exact",
    ...     verbose=0,
    ... )
    >>> history = model.fit(np.ones((2, 1)), np.ones((2, 1)), callbacks=[score], verbose=0)
    >>> history.history["val_exact"]
    [0.5]
    """

    def __init__(
        self,
        generate: Callable[[list], list[str]],
        sources: Sequence,
        references: Sequence,
        metric: Callable[[list[str], list], float],
        every: int = 1,
        batch_size: int = 32,
        name: str = "val_bleu",
        verbose: int = 1,
    ):
        super().__init__()
        if not len(sources) or len(sources) != len(references):
            raise ValueError(
                "`sources` and `references` must have the same number of items, at least one. "
                f"Received: {len(sources)} sources and {len(references)} references"
            )
        if every < 1 or batch_size < 1:
            raise ValueError(
                "`every` and `batch_size` must be at least 1. "
                f"Received: every={every}, batch_size={batch_size}"
            )
        self.generate = generate
        self.sources = list(sources)
        self.references = list(references)
        self.metric = metric
        self.every = every
        self.batch_size = batch_size
        self.name = name
        self.verbose = verbose

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        score = self.measure()
        if logs is not None:
            logs[self.name] = score

    def measure(self) -> float:
        """The score of the model as it is now."""
        hypotheses = self.write()
        score = float(self.metric(hypotheses, self.references))
        if self.verbose:
            self.show(score, hypotheses[0])
        return score

    def write(self) -> list[str]:
        """One text for each source, in batches, under a progress bar."""
        hypotheses = []
        if self.verbose:
            print()  # the epoch's own progress bar has not ended its line yet
        bar = keras.utils.Progbar(len(self.sources), verbose=self.verbose, unit_name="text")
        for start in range(0, len(self.sources), self.batch_size):
            batch = self.sources[start : start + self.batch_size]
            texts = list(self.generate(batch))
            if len(texts) != len(batch):
                raise ValueError(
                    "`generate` must give one text for each source. "
                    f"Received: {len(texts)} texts for {len(batch)} sources"
                )
            hypotheses.extend(texts)
            bar.update(len(hypotheses))
        return hypotheses

    def show(self, score: float, hypothesis: str) -> None:
        """Prints the score and the first source with its reference and what was written."""
        reference = self.references[0]
        print(f"{self.name}: {score:.4f}")
        print(f"  source:    {self.sources[0]}")
        print(f"  reference: {reference if isinstance(reference, str) else reference[0]}")
        print(f"  written:   {hypothesis}")
