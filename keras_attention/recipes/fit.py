"""Training of a translator from sentence pairs to the saved task with the best score."""

import math
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.metrics import bleu
from keras_attention.recipes.candidates import CandidateBatches
from keras_attention.recipes.resume import fingerprints, resume_folder, start_or_resume
from keras_attention.recipes.save_best import SaveBestTask
from keras_attention.recipes.training_config import Metric, TrainingConfig
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
    RaiseOnNonFinite,
    RDrop,
    TokenAccuracy,
)
from keras_attention.training.callbacks import check_finite
from keras_attention.utils.atomic_io import check_replaceable

Pair = tuple[str, str]


def fit(
    task: Translator,
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    folder: str | Path,
    config: TrainingConfig | None = None,
) -> keras.callbacks.History:
    """Trains a translator with `model.fit` and saves the task whenever its score improves.

    A call with the same arguments resumes an interrupted training after its last complete epoch.
    After Ctrl-C before the first score, the folder holds the current task, unless it already held
    one.

    Args:
        task: Translator to train. Its strategy generates the validation outputs.
        pairs: Training pairs, `(source, target)`.
        validation: Validation pairs, scored after each epoch.
        folder: Folder of the saved task; always holds the task with the best score so far.
        config: Training options. `None` is `TrainingConfig()`.

    Returns:
        The history of `model.fit`.

    Raises:
        ValueError: If the folder holds anything but a task, an interrupted training in it had
            other settings, or the loss, a score or a weight becomes NaN or infinite. The folder
            then holds the best task so far, if there is one.

    Example:

    ```python
    config = TrainingConfig(epochs=10, batch_tokens=4096, decay="inverse_sqrt")
    fit(translator, pairs, validation, "models/en-de", config)
    translator = Translator.load("models/en-de")
    ```
    """
    config = config or TrainingConfig()
    folder = Path(folder)
    check_replaceable(folder, "task.json")
    metric = config.metric or _default_metric(config)
    data, loss = _data_and_loss(task, pairs, metric, config)
    task.model.compile(
        _optimizer(config, config.epochs * len(data)),
        loss,
        # accuracy on candidates of beam search would say nothing
        metrics=[TokenAccuracy()] if config.risk_weight is None else [],
        jit_compile=config.jit_compile,
    )
    state_folder = resume_folder(folder)
    settings = {**config.resume_settings(), **fingerprints(task, pairs, validation)}
    resumed = start_or_resume(state_folder, settings)

    save_best = SaveBestTask(task, folder, config.metric_name, resumed, config.patience)
    score = _validation_score(task, validation, metric, config)
    bfloat16 = [Bfloat16()] if config.bfloat16 else []
    average = _average_checkpoints(state_folder, config)
    callbacks = [
        *bfloat16,
        RaiseOnNonFinite(),  # before the callbacks that save
        *average,
        # double_checkpoint: Ctrl-C while one copy is written leaves the other
        keras.callbacks.BackupAndRestore(
            state_folder, double_checkpoint=True, delete_checkpoint=False
        ),
        *([MovingAverage()] if config.ema_momentum is not None else []),
        score,
        save_best,
    ]
    # a progress bar is for terminals; in a file it is one line per batch
    verbose = "auto" if sys.stdout.isatty() else 2
    try:
        history = task.model.fit(
            data, epochs=config.epochs, callbacks=callbacks, shuffle=False, verbose=verbose
        )
        if average:
            _score_average(average[0], score, save_best)
    except KeyboardInterrupt:
        for callback in bfloat16:
            callback.restore()
        if not save_best.has_score and not (folder / "task.json").is_file():
            task.save(folder)
        raise
    if not save_best.has_score:
        task.save(folder)
    shutil.rmtree(state_folder, ignore_errors=True)
    return history


def _data_and_loss(
    task: Translator, pairs: Sequence[Pair], metric: Metric, config: TrainingConfig
) -> tuple:
    """Returns the training batches and the loss that fits them."""
    options: dict[str, Any] = {
        "batch_size": config.max_batch_size,
        "max_length": config.max_length,
        "seed": config.seed,
        "batch_tokens": config.batch_tokens,
    }
    smoothing = config.label_smoothing
    if config.risk_weight is not None:
        candidates = CandidateBatches(task, pairs, metric, **options)
        loss = MinimumRisk(config.risk_weight, candidates.num_candidates, label_smoothing=smoothing)
        return candidates, loss
    data = bucketed_batches(pairs, task.source_tokenizer, task.target_tokenizer, **options)
    if config.r_drop_alpha is not None:
        return repeat_batch(data), RDrop(config.r_drop_alpha, smoothing)
    return data, MaskedCrossEntropy(smoothing)


def _optimizer(config: TrainingConfig, steps: int) -> keras.optimizers.Adam:
    """Returns Adam with the configured schedule over a number of steps."""
    ema = config.ema_momentum
    options = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    if config.decay == "linear":
        decay_steps = max(1, steps - config.warmup_steps)
        rate = LinearWarmup(config.learning_rate, config.warmup_steps, decay_steps)
    else:
        rate = Noam.with_peak(config.learning_rate, config.warmup_steps)
        options |= {"beta_2": 0.98, "epsilon": 1e-9}
    return keras.optimizers.Adam(rate, clipnorm=1.0, **options)


def _validation_score(
    task: Translator, validation: Sequence[Pair], metric: Metric, config: TrainingConfig
) -> GenerationScore:
    """Returns the callback that scores the validation pairs."""
    sources, references = map(list, zip(*validation, strict=True))
    return GenerationScore(
        _without_truncation_warnings(task),
        sources,
        references,
        metric,
        config.validation_freq,
        name=config.metric_name,
    )


def _average_checkpoints(state_folder: Path, config: TrainingConfig) -> list[AverageCheckpoints]:
    if config.average_checkpoints == 1:
        return []
    return [AverageCheckpoints(state_folder / "epochs", config.average_checkpoints)]


def _score_average(
    average: AverageCheckpoints, score: GenerationScore, save_best: SaveBestTask
) -> None:
    """Scores the averaged weights, which the model has now, and saves them if they are best."""
    best, best_epoch = save_best.best, save_best.best_epoch
    num_epochs = len(average.paths)
    last_epoch = int(average.paths[-1].stem.removeprefix("epoch-"))
    average_score = score.measure()
    check_finite(score.name, average_score, last_epoch - 1)
    print(f"{save_best.monitor} of {num_epochs} epochs averaged: {average_score:.4f}; ", end="")
    print(
        "best epoch: " + ("not scored" if best == -math.inf else f"{best:.4f} (epoch {best_epoch})")
    )
    save_best.save_if_best(average_score, last_epoch, averaged_epochs=num_epochs)


def _without_truncation_warnings(task: Translator) -> Callable[[list[str]], list[str]]:
    """Returns the task without its warnings of truncated texts, once per epoch otherwise."""

    def generate(texts: list[str]) -> list[str]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* were truncated")
            return task(texts)

    return generate


def _default_metric(config: TrainingConfig) -> Metric:
    """Returns BLEU with the configured tokenizer."""

    def bleu_score(hypotheses: list[str], references: list[str]) -> float:
        return bleu(hypotheses, references, tokenize=config.bleu_tokenize).score

    bleu_score(["one"], ["one"])  # an unknown tokenizer fails before training
    return bleu_score
