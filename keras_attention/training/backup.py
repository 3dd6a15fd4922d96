"""Backup of a training, of one process or several, that an interrupted training resumes from."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.training.state import MODEL_FILE, TRAINING_FILE, read_state, restore_state
from keras_attention.utils.archive import read_arrays
from keras_attention.utils.atomic_io import replace_file
from keras_attention.utils.full_disk import explain_full_disk


class BackupTraining(keras.callbacks.Callback):
    """Saves the state of a training after each epoch; `fit` resumes an interrupted one from there.

    The state is the number of the epoch, the weights, the optimizer and the seeds of dropout. The
    file is complete at every moment: a process that is killed while it writes leaves the previous
    state. `keras.callbacks.BackupAndRestore` saves no seeds, and is not for several processes.

    With several processes (`keras.distribution.initialize`), pass the callback in each of them with
    the same path, on a file system that all of them read. The first process writes; all processes
    read when the training begins, so that they resume from the same epoch.

    Place it before callbacks that change the weights at the end of an epoch, such as
    `MovingAverage`. Delete the file to start anew.

    Args:
        path: The file, such as `"backup.npz"`.

    Raises:
        ValueError: When the training begins, if the file is damaged or of another model.
        OSError: If the disk is full.

    Example:

    >>> import tempfile
    >>> def train(path, epochs):
    ...     model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ...     model.compile("adam", "mse")
    ...     callbacks = [BackupTraining(path)]
    ...     x, y = np.ones((8, 1)), np.ones((8, 1))
    ...     return model.fit(x, y, epochs=epochs, callbacks=callbacks, verbose=0).epoch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     train(f"{folder}/backup.npz", epochs=3), train(f"{folder}/backup.npz", epochs=5)
    ([0, 1, 2], [3, 4])
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self.path = Path(path)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model._initial_epoch = 0
        if not self.path.exists():
            return
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        count = len(self.model.weights)
        epoch, *arrays = read_arrays(self.path)
        restore_state(self.model, {MODEL_FILE: arrays[:count], TRAINING_FILE: arrays[count:]})
        self.model._initial_epoch = int(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        state = read_state(self.model)  # in each process
        if process_index() == 0:
            arrays = [*state[MODEL_FILE], *state[TRAINING_FILE]]
            with explain_full_disk("A backup", self.path.parent), replace_file(self.path) as new:
                with open(new, "wb") as file:
                    np.savez(file, np.array(epoch + 1), *arrays)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.model._initial_epoch = 0


def process_index() -> int:
    """Returns the number of this process, 0 if it is the only one."""
    if keras.backend.backend() != "jax":
        return 0
    import jax

    return jax.process_index()
