"""Callbacks that score generated text during training, and that end a training that diverges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.utils.validation import check_texts


class GenerationScore(keras.callbacks.Callback):
    """Generates text for a validation set at the end of each epoch and scores it.

    The score is added to the epoch's logs as `name`, so `History` records it, and
    `ModelCheckpoint(monitor="val_bleu", mode="max")` and `EarlyStopping(monitor="val_bleu",
    mode="max")` can monitor it. Callbacks run in the order of their list: place this one before
    those that read its score, and after `MovingAverage` to score the averaged weights.

    Args:
        generate: callable from a list of sources to a list of as many texts. It must read the
            model's weights at each call; compiled code that captured them as constants keeps
            generating with the weights of the first epoch.
        sources: the validation sources, a sequence of strings or other inputs of `generate`.
        references: the reference of each source, a string or a list of strings.
        metric: callable `metric(hypotheses, references)` that returns a number, such as BLEU.
        every: number of epochs between scores. The logs of other epochs have no score, and Keras's
            callbacks that monitor it print a warning.
        batch_size: number of sources in each call of `generate`.
        name: name of the score in the logs.
        verbose: 1 shows a progress bar and an example, 0 nothing.

    Raises:
        ValueError: If there are no sources, the number of references differs from that of the
            sources, `every` or `batch_size` is below 1, `generate` returns another number of texts
            than of sources, or a score is NaN or infinite.

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
        check_texts("sources", sources, nested=True)
        check_texts("references", references, nested=True)
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
        check_finite(self.name, score, epoch)
        if logs is not None:
            logs[self.name] = score

    def measure(self) -> float:
        """Generates, and returns the score of the model's current weights."""
        hypotheses = self._generate_all()
        score = float(self.metric(hypotheses, self.references))
        if self.verbose:
            self._print_example(score, hypotheses[0])
        return score

    def _generate_all(self) -> list[str]:
        """Generates one text per source, in batches, with a progress bar."""
        hypotheses = []
        if self.verbose:
            print()  # ends the line of Keras's progress bar
        bar = keras.utils.Progbar(len(self.sources), verbose=self.verbose, unit_name="text")
        for start in range(0, len(self.sources), self.batch_size):
            batch = self.sources[start : start + self.batch_size]
            texts = list(self.generate(batch))
            if len(texts) != len(batch):
                raise ValueError(
                    "`generate` must return one text for each source. "
                    f"Received: {len(texts)} texts for {len(batch)} sources"
                )
            hypotheses.extend(texts)
            bar.update(len(hypotheses))
        return hypotheses

    def _print_example(self, score: float, hypothesis: str) -> None:
        """Prints the score, and the first source with its reference and generated text."""
        reference = self.references[0]
        print(f"{self.name}: {score:.4f}")
        print(f"  source:    {self.sources[0]}")
        print(f"  reference: {reference if isinstance(reference, str) else reference[0]}")
        print(f"  generated: {hypothesis}")


class RaiseOnNonFinite(keras.callbacks.Callback):
    """Ends a training with an error if its loss, a metric or a weight becomes NaN or infinite.

    `keras.callbacks.TerminateOnNaN` reads the loss only, which does not show what the last step of
    an epoch did to the weights. Place it before callbacks that save the model, so that they keep
    the last one that is finite.

    Raises:
        ValueError: At the end of an epoch in which a value became NaN or infinite; the message
            names the value and the epoch.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(1e30), "mse")
    >>> x = np.ones((8, 1))
    >>> model.fit(x, x, batch_size=1, callbacks=[RaiseOnNonFinite()], verbose=0)
    Traceback (most recent call last):
        ...
    ValueError: `loss` must be finite; a smaller learning rate may help. Received: ... in epoch 1
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            check_finite(name, value, epoch)
        for weight in self.model.trainable_weights:
            if not bool(ops.all(ops.isfinite(weight))):
                check_finite(weight.path, math.nan, epoch)


def check_finite(name: str, value: float, epoch: int) -> None:
    """Raises a `ValueError` if a value at the end of an epoch, counted from 0, is not finite."""
    if not math.isfinite(value):
        raise ValueError(
            f"`{name}` must be finite; a smaller learning rate may help. "
            f"Received: {name}={value} in epoch {epoch + 1}"
        )


class SetEpoch(keras.callbacks.Callback):
    """Tells the training data the number of the epoch, which `fit` does not.

    A training that is resumed, or that starts from `initial_epoch`, then has the order of its
    epoch.

    Args:
        data: Training data with an attribute `epoch`: `ShuffledBatches`, such as those of
            `text.bucketed_batches`, or `recipes.CandidateBatches`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_attention.training import ShuffledBatches
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> data = ShuffledBatches([((np.ones((8, 1)), np.ones((8, 1))), 4)])
    >>> options = {"shuffle": False, "verbose": 0, "callbacks": [SetEpoch(data)]}
    >>> history = model.fit(data, initial_epoch=4, epochs=5, **options)
    """

    def __init__(self, data: Any):
        super().__init__()
        self.data = data

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.data.epoch = epoch
