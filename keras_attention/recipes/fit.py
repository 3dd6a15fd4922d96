"""Trains a task on sentence pairs and keeps the best of what it was."""

import math
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from keras_attention.metrics import bleu
from keras_attention.recipes.candidates import CandidateBatches
from keras_attention.recipes.resume import begin_or_resume, fingerprints, unfinished
from keras_attention.tasks.translator import Translator
from keras_attention.text import bucketed_batches, repeat_batch
from keras_attention.training import (
    AverageCheckpoints,
    Bfloat16,
    GenerationScore,
    LinearWarmup,
    MaskedCrossEntropy,
    MinimumRisk,
    MovingAverage,
    Noam,
    RDrop,
    TokenAccuracy,
)
from keras_attention.utils.atomic_io import check_replaceable, read_json, write_json

Pair = tuple[str, str]
SCORE_FILE = "training.json"


class SaveBestTask(keras.callbacks.Callback):
    """Saves the task whenever its score is the best so far, and the score as `training.json`.

    Args:
        task: has `save(folder)`.
        folder: where to.
        monitor: name of the score in the logs; higher is better.
        resumed: whether the folder's score is one to beat.
        patience: epochs without a better score before training stops, those before it was cut off
            counted; None never stops.
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
            before = read_json(folder / SCORE_FILE)
            self.best, self.best_epoch = before.get(monitor, -math.inf), before.get("epoch", 0)

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor not in (logs or {}):
            return
        self.keep(logs[self.monitor], epoch=epoch + 1)
        if self.patience is not None and epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def keep(self, score: float, epoch: int, **notes) -> None:
        """Saves the task if `score` is the best, with `notes` beside the score."""
        if score > self.best:
            self.best, self.best_epoch = score, epoch
            self.task.save(self.folder)
            write_json(self.folder / SCORE_FILE, {self.monitor: score, "epoch": epoch, **notes})


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
    batch_tokens: int | None = None,
    decay: str = "linear",
    average: int = 1,
    ema: float | None = None,
    r_drop: float | None = None,
    risk: float | None = None,
    bfloat16: bool = False,
) -> keras.callbacks.History:
    """Trains with `model.fit`; `folder` always holds the best task so far.

    Training that was cut off goes on from its last whole epoch when called again with the same
    arguments. After Ctrl-C before the first score, the folder has the task as it was then, unless
    it had another.

    | `decay` | the rate rises linearly for `warmup_steps`, then | Adam's `beta_2`, `epsilon` |
    | --- | --- | --- |
    | `"linear"` | falls linearly until the last step | 0.999, 1e-7: Keras's own |
    | `"inverse_sqrt"` | falls as 1 / sqrt(step) | 0.98, 1e-9: Vaswani et al. 2017, section 5.3 |

    Args:
        task: what to train. Its strategy writes the validation texts.
        pairs: `(source, target)` to learn from.
        validation: `(source, target)` to score after each epoch.
        folder: gets the task that scored best.
        epochs: passes over the pairs.
        batch_size: the most pairs in a batch.
        max_length: longer sentences are cut.
        learning_rate: the highest rate of Adam.
        warmup_steps: batches until it is reached.
        label_smoothing: of the cross-entropy.
        patience: epochs without a better score before training stops; None never stops.
        seed: of the order of the pairs.
        jit_compile: as in `model.compile`. Under TensorFlow on a CPU "auto" is off, though XLA
            trains RNNs faster there; each bucket length is compiled once.
        metric: `metric(hypotheses, references)`, higher is better; None is BLEU.
        metric_name: its name in the logs.
        every: epochs between two scores.
        batch_tokens: the most positions in one side of a batch, padding counted; None sets no
            limit.
        decay: see the table.
        average: when training ends, the mean of the weights of so many last epochs is scored too,
            and is what the folder gets if it scores best. The model ends with that mean.
        ema: momentum of a moving average of the weights, such as 0.999; the average is what is
            scored and saved after each epoch. None keeps none.
        r_drop: weight of `RDrop`'s divergence, such as 5. Every batch then goes through the model
            twice at once, in twice the time and memory. None has the cross-entropy alone.
        risk: weight of `MinimumRisk` for a point of the metric, such as 0.12 for BLEU, to go on
            with a task that is trained. An epoch is then about 3,072 of the pairs, drawn anew and
            answered by beam search before it; see `CandidateBatches`.
        bfloat16: whether the products of a training step are taken in bfloat16, by
            `training.Bfloat16`; what is scored and saved is float32 as before.

    Returns:
        Keras's history.

    Raises:
        ValueError: if the folder holds something else than a task, the training that was cut off
            there had other arguments, or an argument is not one of the above.
    """
    folder = Path(folder)
    check_replaceable(folder, "task.json")
    _check_averages(average, ema)
    if risk is not None and r_drop is not None:
        raise ValueError(f"risk: expected without r_drop. Received: risk={risk}, r_drop={r_drop}")
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "batch_tokens": batch_tokens,
        "max_length": max_length,
        "learning_rate": learning_rate,
        "warmup_steps": warmup_steps,
        "decay": decay,
        "label_smoothing": label_smoothing,
        "average": average,
        "ema": ema,
        "r_drop": r_drop,
        "risk": risk,
        "bfloat16": bfloat16,
        "seed": seed,
    }
    metric = metric or bleu_score
    data, loss = _data_and_loss(task, pairs, metric, settings)
    task.model.compile(
        _adam(decay, learning_rate, warmup_steps, epochs * len(data), ema),
        loss,
        metrics=[TokenAccuracy()] if risk is None else [],  # not of candidates
        jit_compile=jit_compile,
    )
    place = unfinished(folder)
    resumed = begin_or_resume(place, {**settings, **fingerprints(task, pairs, validation)})
    sources, references = map(list, zip(*validation, strict=True))
    score = GenerationScore(_quietly(task), sources, references, metric, every, name=metric_name)
    keep = SaveBestTask(task, folder, metric_name, resumed, patience)
    last_epochs = [AverageCheckpoints(place / "epochs", average)] if average > 1 else []
    precision = [Bfloat16()] if bfloat16 else []
    callbacks = [
        *precision,
        *last_epochs,
        # two copies: Ctrl-C while one is written leaves the other
        keras.callbacks.BackupAndRestore(place, double_checkpoint=True, delete_checkpoint=False),
        *([MovingAverage()] if ema is not None else []),
        score,
        keep,
    ]
    # a bar is for a screen; in a file it is a line for every batch
    verbose = "auto" if sys.stdout.isatty() else 2
    try:
        history = task.model.fit(
            data, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=verbose
        )
        if last_epochs:
            _keep_average(last_epochs[0], score, keep)
    except KeyboardInterrupt:
        for each in precision:
            each.restore()
        if keep.best == -math.inf and not (folder / "task.json").is_file():
            task.save(folder)
        raise
    if keep.best == -math.inf:  # there was no score, so the last is the best
        task.save(folder)
    shutil.rmtree(place, ignore_errors=True)
    return history


def _data_and_loss(task, pairs, metric, settings):
    """What the model learns from, and by which loss."""
    names = "batch_size", "max_length", "seed", "batch_tokens"
    options = {name: settings[name] for name in names}
    smoothing, risk, r_drop = (settings[name] for name in ("label_smoothing", "risk", "r_drop"))
    if risk is not None:
        data = CandidateBatches(task, pairs, metric, **options)
        return data, MinimumRisk(risk, data.candidates, label_smoothing=smoothing)
    data = bucketed_batches(pairs, task.source_tokenizer, task.target_tokenizer, **options)
    if r_drop is not None:
        return repeat_batch(data), RDrop(r_drop, smoothing)
    return data, MaskedCrossEntropy(smoothing)


def _check_averages(average, ema):
    if average < 1:
        raise ValueError(f"average: expected at least 1. Received: average={average}")
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"ema: expected a number between 0 and 1. Received: ema={ema}")
    if ema is not None and average > 1:
        raise ValueError(
            "ema: expected without average, for one of the two is enough. "
            f"Received: ema={ema}, average={average}"
        )


def _adam(decay, learning_rate, warmup_steps, steps, ema):
    moving_average = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    if decay == "linear":
        rate = LinearWarmup(learning_rate, warmup_steps, steps)
        return keras.optimizers.Adam(rate, clipnorm=1.0, **moving_average)
    if decay == "inverse_sqrt":
        rate = Noam.with_peak(learning_rate, warmup_steps)
        return keras.optimizers.Adam(
            rate, beta_2=0.98, epsilon=1e-9, clipnorm=1.0, **moving_average
        )
    raise ValueError(f"decay: expected 'linear' or 'inverse_sqrt'. Received: decay={decay!r}")


def _keep_average(last_epochs, score, keep):
    """Scores the mean of the last epochs, which the model has by now, beside the best epoch."""
    best, best_epoch = keep.best, keep.best_epoch
    count, epoch = len(last_epochs.paths), int(last_epochs.paths[-1].stem.removeprefix("epoch-"))
    found = score.measure()
    print(f"{keep.monitor} of {count} epochs averaged: {found:.4f}; best epoch: ", end="")
    print("not scored" if best == -math.inf else f"{best:.4f} (epoch {best_epoch})")
    keep.keep(found, epoch, averaged_epochs=count)


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
