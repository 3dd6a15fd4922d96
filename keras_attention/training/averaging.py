"""Averages of a model's weights: over the last epochs, or over all training steps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.utils.archive import read_arrays
from keras_attention.utils.atomic_io import replace_file


def average_weights(paths: Iterable[str | Path]) -> list[np.ndarray]:
    """Returns the mean of the weights in checkpoints of `AverageCheckpoints`.

    The sums are in float64. Weights that are not floating-point, such as counters, are taken from
    the last file.

    Args:
        paths: the files, in the order of their epochs.

    Returns:
        One array per weight, for `model.set_weights`.

    Raises:
        ValueError: If there are no files, one is damaged, or their weights have different shapes.
    """
    paths = list(paths)
    if not paths:
        raise ValueError(f"`paths` must contain at least one file. Received: paths={paths}")
    totals: list[np.ndarray] = []
    for path in paths:
        weights = read_arrays(path)
        shapes = [weight.shape for weight in weights]
        if not totals:
            totals = [np.zeros(shape, "float64") for shape in shapes]
        if shapes != [total.shape for total in totals]:
            raise ValueError(
                "`paths` must be checkpoints of one model, with weights of the same shapes. "
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
    """Saves the weights of the last epochs and sets the model to their mean when training ends.

    The mean of the last checkpoints often generates better text than any one of them (Vaswani et
    al. 2017, section 6.1). Each epoch's weights are written to `folder` as `epoch-00001.npz`, in
    float32 and without the optimizer. Place it before `BackupAndRestore`, so that completed epochs
    keep their checkpoints when training is resumed.

    Args:
        folder: folder of the checkpoints, which should contain nothing else.
        last: number of epochs whose weights are kept and averaged.

    Raises:
        ValueError: If `last` is below 1.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).
    """

    def __init__(self, folder: str | Path, last: int = 5):
        super().__init__()
        if last < 1:
            raise ValueError(f"`last` must be at least 1. Received: last={last}")
        self.folder = Path(folder)
        self.last = last

    @property
    def paths(self) -> list[Path]:
        """Existing checkpoints, in the order of their epochs."""
        return sorted(self.folder.glob("epoch-*.npz"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with replace_file(self._path(epoch)) as partial, open(partial, "wb") as file:
            np.savez(file, *map(_as_array, self.model.weights))
        last_paths = [self._path(epoch - i) for i in range(self.last)]
        for path in self.paths:
            if path not in last_paths:
                path.unlink()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.model.set_weights(average_weights(self.paths))

    def _path(self, epoch):
        return self.folder / f"epoch-{epoch + 1:05d}.npz"


class MovingAverage(keras.callbacks.Callback):
    """Gives the following callbacks the moving average of the weights.

    It needs an optimizer with `use_ema=True`. From the end of an epoch to the start of the next,
    the model has the optimizer's moving average; training then continues from the trained weights.
    After `fit`, the model has the average. (Keras's `SwapEMAWeights(swap_on_epoch=True)` does the
    same, except when `EarlyStopping` ends training.) Place `BackupAndRestore` before it, so that
    the trained weights are backed up.

    Raises:
        ValueError: If the optimizer has `use_ema=False`.
    """

    def __init__(self):
        super().__init__()
        self._trained_weights = []  # while the model has the average

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        # With mixed_float16, the optimizer is wrapped in a `LossScaleOptimizer`.
        if not getattr(optimizer, "inner_optimizer", optimizer).use_ema:
            raise ValueError("The optimizer must have `use_ema=True`. Received: use_ema=False")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        variables = self.model.trainable_variables
        self._trained_weights = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
        self.model.optimizer.finalize_variable_values(variables)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._trained_weights:
            for variable, value in zip(
                self.model.trainable_variables, self._trained_weights, strict=True
            ):
                variable.assign(value)
        self._trained_weights = []


def _as_array(variable):
    # .npz files do not support bfloat16.
    is_float = keras.backend.is_float_dtype(variable.dtype)
    return ops.convert_to_numpy(ops.cast(variable, "float32") if is_float else variable)
