"""A callback that saves the task with the best validation score."""

import math
from pathlib import Path
from typing import Any

import keras

from keras_attention.tasks.translator import Translator
from keras_attention.utils.atomic_io import read_json, write_json

SCORE_FILE = "training.json"


class SaveBestTask(keras.callbacks.Callback):
    """Saves the task whenever its score is the best so far, with the score in `training.json`.

    Args:
        task: Task to save, with a method `save(folder)`.
        folder: Folder that the task is saved in.
        monitor: Name of the score in the logs; higher is better.
        resumed: Whether a score found in the folder is the one to beat.
        patience: Number of epochs without a better score before training stops, including those
            before an interruption. `None` never stops training.
    """

    def __init__(
        self,
        task: Translator,
        folder: Path,
        monitor: str,
        resumed: bool,
        patience: int | None = None,
    ):
        super().__init__()
        self.task = task
        self.folder = folder
        self.monitor = monitor
        self.patience = patience
        self.best, self.best_epoch = -math.inf, 0
        if resumed and (folder / SCORE_FILE).is_file():
            saved = read_json(folder / SCORE_FILE)
            self.best, self.best_epoch = saved.get(monitor, -math.inf), saved.get("epoch", 0)

    @property
    def has_score(self) -> bool:
        """True if a score was reported, in this run or in the one that it resumes."""
        return self.best > -math.inf

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None or self.monitor not in logs:
            return
        self.save_if_best(logs[self.monitor], epoch=epoch + 1)
        if self.patience is not None and epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def save_if_best(self, score: float, epoch: int, **details: Any) -> None:
        """Saves the task if `score` is the best so far.

        Args:
            score: Score of the task with its current weights.
            epoch: Number of completed epochs.
            **details: Further entries of `training.json`.
        """
        if score > self.best:
            self.best, self.best_epoch = score, epoch
            self.task.save(self.folder)
            content = {self.monitor: score, "epoch": epoch, **details}
            write_json(self.folder / SCORE_FILE, content)
