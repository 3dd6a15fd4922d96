"""A callback that saves the task with the best validation score."""

from pathlib import Path
from typing import Any

import keras

from keras_attention.tasks.translator import Translator

SCORE_FILE = "training.json"


class SaveBestTask(keras.callbacks.Callback):
    """Saves the task whenever its score is the best so far, with the score in `training.json`.

    Both are written to a temporary folder that then replaces `folder`.

    Args:
        task: Task to save, with a method `save(folder, training)`.
        folder: Folder that the task is saved in.
        monitor: Name of the score in the logs; higher is better.
        run_id: Identifies the training in `training.json`.
        best: Score to beat, that of the task in `folder`. `None` if there is none.
        best_epoch: Number of completed epochs when that score was reached.
        patience: Number of epochs without a better score before training stops, including those
            before an interruption. `None` never stops training.
    """

    def __init__(
        self,
        task: Translator,
        folder: Path,
        monitor: str,
        run_id: str,
        best: float | None = None,
        best_epoch: int = 0,
        patience: int | None = None,
    ):
        super().__init__()
        self.task = task
        self.folder = folder
        self.monitor = monitor
        self.run_id = run_id
        self.best, self.best_epoch = best, best_epoch
        self.patience = patience

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
        if self.best is None or score > self.best:
            content = {self.monitor: score, "epoch": epoch, **details, "run_id": self.run_id}
            self.task.save(self.folder, training=content)
            self.best, self.best_epoch = score, epoch
