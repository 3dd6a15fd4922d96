"""Two averages over the course of a training: of the last epochs, and of every step."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops


def average_weights(paths: Iterable[str | Path]) -> list[np.ndarray]:
    """The mean of the weights in files that `AverageCheckpoints` wrote.

    Sums in float64. Weights that are no floats, such as counters, are those of the last file.

    Args:
        paths: The files, in the order of their epochs.

    Returns:
        One array for each weight, ready for `model.set_weights`.

    Raises:
        ValueError: If there are no files, or they are not of the same model.
    """
    paths = list(paths)
    if not paths:
        raise ValueError(f"paths: expected at least one file of weights. Received: paths={paths}")
    totals: list[np.ndarray] = []
    for path in paths:
        with np.load(path) as file:
            weights = [file[f"arr_{place}"] for place in range(len(file.files))]
        shapes = [weight.shape for weight in weights]
        if not totals:
            totals = [np.zeros(shape, "float64") for shape in shapes]
        if shapes != [total.shape for total in totals]:
            raise ValueError(
                "paths: expected weights of one model. "
                f"Received: {str(path)!r} with other shapes than {str(paths[0])!r}"
            )
        for total, weight in zip(totals, weights, strict=True):
            total += weight
    means = [(total / len(paths)).astype("float32") for total in totals]
    return [
        mean if np.issubdtype(weight.dtype, np.floating) else weight
        for mean, weight in zip(means, weights, strict=True)
    ]


class AverageCheckpoints(keras.callbacks.Callback):
    """Keeps the weights of the last epochs, and gives the model their mean when training ends.

    The mean of the last checkpoints often generates better text than each of them (Vaswani et al.
    2017, section 6.1). After an epoch its weights are in `folder` as `epoch-00001.npz`, float32 and
    without the optimizer. A training that goes on finds the files of the one before; stand in front
    of `BackupAndRestore`, so that there is a file for each epoch that is not repeated.

    Args:
        folder: Where the files are written; it should hold nothing else.
        last: Number of epochs that are kept.

    Raises:
        ValueError: If `last` is below 1.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).
    """

    def __init__(self, folder: str | Path, last: int = 5):
        super().__init__()
        if last < 1:
            raise ValueError(f"last: expected at least 1. Received: last={last}")
        self.folder = Path(folder)
        self.last = last

    @property
    def paths(self) -> list[Path]:
        """The files there are, in the order of their epochs."""
        return sorted(self.folder.glob("epoch-*.npz"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / "part"
        with open(part, "wb") as file:
            np.savez(file, *map(_as_array, self.model.weights))
        # Under its name a file is always whole, wherever the training is cut off.
        os.replace(part, self._path(epoch))
        kept = [self._path(epoch - back) for back in range(self.last)]
        for path in self.paths:
            if path not in kept:
                path.unlink()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.model.set_weights(average_weights(self.paths))

    def _path(self, epoch):
        return self.folder / f"epoch-{epoch + 1:05d}.npz"


class MovingAverage(keras.callbacks.Callback):
    """Shows the moving average of the weights to the callbacks behind it.

    For an optimizer with `use_ema=True`. From the end of an epoch to the begin of the next, the
    model has the average that the optimizer keeps; then training goes on from its own weights.
    After `fit` the model has the average, as Keras gives it. (So it has with Keras's
    `SwapEMAWeights(swap_on_epoch=True)`, but not where `EarlyStopping` ended the training.)
    `BackupAndRestore` stands in front of it, to back up the weights that training goes on from.

    Raises:
        ValueError: If the optimizer keeps no average.
    """

    def __init__(self):
        super().__init__()
        self.trained = []  # the weights that training goes on from, while the average is shown

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        # under mixed_float16 it is inside the one that scales the loss
        if not getattr(optimizer, "inner_optimizer", optimizer).use_ema:
            raise ValueError("Expected an optimizer with use_ema=True. Received: use_ema=False")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        variables = self.model.trainable_variables
        self.trained = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
        self.model.optimizer.finalize_variable_values(variables)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.trained:
            for variable, value in zip(self.model.trainable_variables, self.trained, strict=True):
                variable.assign(value)
        self.trained = []


def _as_array(variable):
    # NumPy's files have no bfloat16
    is_float = keras.backend.is_float_dtype(variable.dtype)
    return ops.convert_to_numpy(ops.cast(variable, "float32") if is_float else variable)
