"""Checkpoints of a training: all that its next epoch depends on, in numbered folders."""

import dataclasses
import shutil
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.recipes.resume import resume_folder
from keras_attention.recipes.save_best import SaveBestTask
from keras_attention.training.state import (
    MODEL_FILE,
    TRAINING_FILE,
    State,
    describe,
    read_state,
)
from keras_attention.utils.archive import read_arrays
from keras_attention.utils.atomic_io import replace_folder, sync_to_disk
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import read_manifest, write_manifest
from keras_attention.utils.reading import errors_name_file

MANIFEST_FILE = "manifest.json"
FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress and settings of a training, in the `manifest.json` of a checkpoint.

    Args:
        run_id: Identifies the training; the best task has it in `training.json`.
        epoch: Number of completed epochs.
        best: Best score so far, `None` if there is none.
        best_epoch: Number of completed epochs when the best score was reached, 0 if there is none.
        stopped: Whether `patience` ended the training.
        history: Logs of all epochs, by name.
        settings: Options and data of the training, compared when it is resumed.
        environment: Versions and flags that results depend on.
    """

    run_id: str
    epoch: int
    best: float | None
    best_epoch: int
    stopped: bool
    history: dict[str, list[float]]
    settings: dict[str, Any]
    environment: dict[str, Any]


class CopyState(keras.callbacks.Callback):
    """Copies the state of the training at the end of each epoch.

    Place it before callbacks that change the weights, such as `MovingAverage`.
    """

    def __init__(self):
        super().__init__()
        self.state: State = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.state = read_state(self.model)


class SaveCheckpoint(keras.callbacks.Callback):
    """Completes an epoch: writes its checkpoint, with all that the other callbacks have reached.

    Place it last. A training that ends before this callback has run repeats the epoch.

    Args:
        checkpoints: Where to write.
        copy: Has the state of the training.
        save_best: Has the best score.
        start: Progress of the training when `fit` is called.
    """

    def __init__(
        self, checkpoints: "Checkpoints", copy: CopyState, save_best: SaveBestTask, start: Progress
    ):
        super().__init__()
        self.checkpoints = checkpoints
        self.copy = copy
        self.save_best = save_best
        self.progress = start

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        history = {name: list(values) for name, values in self.progress.history.items()}
        for name, value in (logs or {}).items():
            history.setdefault(name, []).append(float(value))
        self.progress = dataclasses.replace(
            self.progress,
            epoch=epoch + 1,
            best=self.save_best.best,
            best_epoch=self.save_best.best_epoch,
            stopped=bool(self.model.stop_training),
            history=history,
        )
        self.checkpoints.save(self.copy.state, self.progress)


class Checkpoints:
    """Checkpoints in a folder, one per epoch.

    A checkpoint is written to a temporary folder, flushed to the disk, and renamed. So each one is
    complete, unless its files were damaged later, which their SHA-256 in `manifest.json` shows. The
    two newest ones are kept, so that there is another one then.

    Args:
        folder: Folder of the checkpoints; created if needed.
        keep_weights: Number of last epochs whose weights are kept for an average.
    """

    def __init__(self, folder: Path, keep_weights: int = 1):
        self.folder = folder
        self.keep_weights = keep_weights

    @property
    def paths(self) -> list[Path]:
        """Folders of the checkpoints, in the order of their epochs."""
        return sorted(self.folder.glob("epoch-[0-9]*"))

    def save(self, state: State, progress: Progress) -> None:
        """Writes a checkpoint, then removes what no longer needs to be kept."""
        path = self._path(progress.epoch)
        with explain_full_disk("A checkpoint", self.folder), replace_folder(path) as new:
            for name, arrays in state.items():
                np.savez(new / name, *arrays)
            content = {
                "format": FORMAT,
                **dataclasses.asdict(progress),
                "arrays": describe(state),
            }
            sync_to_disk(new)  # the manifest is last
            write_manifest(new / MANIFEST_FILE, content)
        self._remove_old(progress.epoch)

    def load(self) -> tuple[State, Progress] | None:
        """Returns the newest checkpoint that is undamaged, `None` if there never was one.

        Raises:
            ValueError: If there are checkpoints, and all are damaged.
        """
        errors = []
        for path in reversed(self.paths):
            try:
                with errors_name_file(path, "A checkpoint must be complete"):
                    return self._read(path)
            except ValueError as error:
                errors.append(str(error))
        if not errors:
            return None
        raise ValueError(
            f"A checkpoint of the interrupted training must be undamaged. To start anew, delete "
            f"{self.folder}. Received: " + "; ".join(errors)
        )

    def _read(self, path: Path) -> tuple[State, Progress]:
        content = self._verify(path, (MODEL_FILE, TRAINING_FILE))
        state = {name: read_arrays(path / name) for name in (MODEL_FILE, TRAINING_FILE)}
        if describe(state) != content["arrays"]:
            raise ValueError(f"{path} has other arrays than its {MANIFEST_FILE} says")
        fields = [field.name for field in dataclasses.fields(Progress)]
        return state, Progress(**{name: content[name] for name in fields})

    def weight_files(self, epoch: int) -> list[Path]:
        """Returns the undamaged files of the weights after the last epochs up to `epoch`."""
        paths = [self._path(number) for number in range(epoch - self.keep_weights + 1, epoch + 1)]
        files = []
        for path in filter(Path.exists, paths):
            try:
                with errors_name_file(path, "A checkpoint must be complete"):
                    self._verify(path, (MODEL_FILE,))
                files.append(path / MODEL_FILE)
            except ValueError as error:
                warnings.warn(f"An epoch is missing in the average: {error}", stacklevel=2)
        return files

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:05d}"

    def _verify(self, path: Path, names: tuple[str, ...]) -> dict[str, Any]:
        """Returns the content of a manifest; raises an error if it or a file is damaged."""
        content = read_manifest(path / MANIFEST_FILE, names)
        if content["format"] != FORMAT:
            raise ValueError(f"{path} has format {content['format']}, not {FORMAT}")
        return content

    def _remove_old(self, epoch: int) -> None:
        """Removes checkpoints, and the training state of those kept for their weights."""
        # one more than is averaged, since the newest checkpoint may be found damaged
        first_kept = epoch - max(1, self.keep_weights)
        for path in self.paths:
            number = int(path.name.removeprefix("epoch-"))
            if number < first_kept:
                shutil.rmtree(path)
            elif number < epoch - 1:
                (path / TRAINING_FILE).unlink(missing_ok=True)


def completed_epochs(folder: str | Path) -> int:
    """Returns the number of completed epochs of an interrupted training, 0 if there is none.

    Args:
        folder: Folder of the task that `fit` writes.
    """
    paths = Checkpoints(resume_folder(folder)).paths
    return int(paths[-1].name.removeprefix("epoch-")) if paths else 0
