"""Trains a task on sentence pairs and keeps the best of what it was."""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from keras_attention.folders import read_json, write_json
from keras_attention.metrics import bleu
from keras_attention.tasks.translator import Translator
from keras_attention.text import batches
from keras_attention.training import (
    GenerationScore,
    LinearWarmup,
    MaskedCrossEntropy,
    TokenAccuracy,
)

Pair = tuple[str, str]
SCORE_FILE = "training.json"


class KeepBest(keras.callbacks.Callback):
    """Saves the task whenever its score is the best so far, and the score as `training.json`.

    Args:
        task: has `save(folder)`.
        folder: where to.
        monitor: name of the score in the logs; higher is better.
        resumed: whether the folder's score is one to beat.
    """

    def __init__(self, task: Translator, folder: Path, monitor: str, resumed: bool):
        super().__init__()
        self.task = task
        self.folder = folder
        self.monitor = monitor
        self.best = -math.inf
        if resumed and (folder / SCORE_FILE).is_file():
            self.best = read_json(folder / SCORE_FILE)[monitor]

    def on_epoch_end(self, epoch, logs=None):
        score = (logs or {}).get(self.monitor, -math.inf)
        if score > self.best:
            self.best = score
            self.task.save(self.folder)
            write_json(self.folder / SCORE_FILE, {self.monitor: score, "epoch": epoch + 1})


def fit(
    task: Translator,
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    folder: str | Path,
    epochs: int = 20,
    batch_size: int = 64,
    max_length: int = 128,
    learning_rate: float = 1e-3,
    warmup_steps: int = 200,
    label_smoothing: float = 0.1,
    patience: int | None = None,
    seed: int = 0,
    jit_compile: bool | str = "auto",
    metric: Callable[[list[str], list[str]], float] | None = None,
    metric_name: str = "val_bleu",
    every: int = 1,
) -> keras.callbacks.History:
    """Trains with `model.fit`; `folder` always holds the best task so far.

    The rate rises linearly for `warmup_steps` and falls linearly to 0 at the last step. Training
    that was cut off goes on from its last whole epoch when called again with the same folder.

    Args:
        task: what to train. Its strategy writes the validation texts.
        pairs: `(source, target)` to learn from.
        validation: `(source, target)` to score after each epoch.
        folder: gets the task that scored best.
        epochs: passes over the pairs.
        batch_size: pairs in a batch.
        max_length: longer sentences are cut.
        learning_rate: the highest rate of Adam.
        warmup_steps: batches until it is reached.
        label_smoothing: of the cross-entropy.
        patience: epochs without a better score before training stops; None never stops.
        seed: of the order of the pairs.
        jit_compile: as in `model.compile`. Under TensorFlow on a CPU "auto" is off, though XLA
            trains these models faster; each bucket length is compiled once.
        metric: `metric(hypotheses, references)`, higher is better; None is BLEU.
        metric_name: its name in the logs.
        every: epochs between two scores.

    Returns:
        Keras's history.
    """
    folder = Path(folder)
    data = batches(
        pairs, task.source_tokenizer, task.target_tokenizer, batch_size, max_length, seed=seed
    )
    rate = LinearWarmup(learning_rate, warmup_steps, epochs * len(data))
    task.model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0),
        MaskedCrossEntropy(label_smoothing),
        metrics=[TokenAccuracy()],
        jit_compile=jit_compile,
    )
    sources, references = map(list, zip(*validation, strict=True))
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    keep = KeepBest(task, folder, metric_name, resumed=unfinished.exists())
    callbacks = [
        keras.callbacks.BackupAndRestore(unfinished),
        GenerationScore(
            task, sources, references, metric or bleu_score, every=every, name=metric_name
        ),
        keep,
    ]
    if patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping(metric_name, patience=patience, mode="max"))
    try:
        history = task.model.fit(data, epochs=epochs, callbacks=callbacks, shuffle=False)
    except KeyboardInterrupt:
        if keep.best == -math.inf:
            task.save(folder)
        raise
    shutil.rmtree(unfinished, ignore_errors=True)
    return history


def bleu_score(hypotheses: list[str], references: list[str]) -> float:
    """BLEU with sacrebleu's default tokenizer."""
    return bleu(hypotheses, references).score
