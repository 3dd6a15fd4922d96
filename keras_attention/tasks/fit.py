"""Trains a task on sentence pairs and keeps the best of what it was."""

import hashlib
import math
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from keras_attention.folders import check_replaceable, read_json, write_json
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
SETTINGS_FILE = "settings.json"


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
            self.best = read_json(folder / SCORE_FILE).get(monitor, -math.inf)

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
    that was cut off goes on from its last whole epoch when called again with the same arguments.
    After Ctrl-C before the first score, the folder has the task as it was then, unless it had
    another.

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

    Raises:
        ValueError: if the folder holds something else than a task, or the training that was cut off
            there had other arguments.
    """
    folder = Path(folder)
    check_replaceable(folder, "task.json")
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "max_length": max_length,
        "learning_rate": learning_rate,
        "warmup_steps": warmup_steps,
        "label_smoothing": label_smoothing,
        "seed": seed,
        **_fingerprints(task, pairs, validation),
    }
    resumed = _begin_or_resume(unfinished(folder), settings)
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
    keep = KeepBest(task, folder, metric_name, resumed)
    callbacks = [
        # two copies: Ctrl-C while one is written leaves the other
        keras.callbacks.BackupAndRestore(unfinished(folder), double_checkpoint=True),
        GenerationScore(
            _quietly(task), sources, references, metric or bleu_score, every, name=metric_name
        ),
        keep,
    ]
    if patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping(metric_name, patience=patience, mode="max"))
    # a bar is for a screen; in a file it is a line for every batch
    verbose = "auto" if sys.stdout.isatty() else 2
    try:
        history = task.model.fit(
            data, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=verbose
        )
    except KeyboardInterrupt:
        if keep.best == -math.inf and not (folder / "task.json").is_file():
            task.save(folder)
        raise
    if keep.best == -math.inf:  # there was no score, so the last is the best
        task.save(folder)
    shutil.rmtree(unfinished(folder), ignore_errors=True)
    return history


def unfinished(folder: str | Path) -> Path:
    """Where `fit` keeps what it needs to go on with the training of `folder`."""
    folder = Path(folder).absolute()
    return folder.with_name(f".{folder.name}.unfinished")


def _begin_or_resume(place, settings):
    """Whether there is a training to go on with; it must have had the same settings."""
    if (place / SETTINGS_FILE).is_file():
        before = read_json(place / SETTINGS_FILE)
        other = [name for name in settings if settings[name] != before.get(name)]
        if other:
            raise ValueError(
                f"Expected the settings of the training that was cut off and is kept in {place} "
                f"(delete that to start anew). Received: other {', '.join(other)}"
            )
        return True
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    write_json(place / SETTINGS_FILE, settings)
    return False


def _fingerprints(task, pairs, validation):
    """What tells one training from another, beside numbers."""
    tokenizers = task.source_tokenizer, task.target_tokenizer
    return {
        "shapes of the weights": [list(variable.shape) for variable in task.model.weights],
        "pairs": _digest(pairs),
        "validation pairs": _digest(validation),
        "tokenizers": _digest([(each.vocabulary, each.get_config()) for each in tokenizers]),
    }


def _digest(items):
    return hashlib.sha256(repr(list(items)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _quietly(task):
    """The task without its warnings of cut texts, which would come again in every epoch."""

    def write(texts):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* were truncated")
            return task(texts)

    return write


def bleu_score(hypotheses: list[str], references: list[str]) -> float:
    """BLEU with sacrebleu's default tokenizer."""
    return bleu(hypotheses, references).score
