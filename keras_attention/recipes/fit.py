"""Training of a translator from sentence pairs to the saved task with the best score."""

import json
import sys
import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.metrics import bleu
from keras_attention.ops.blockwise import ADDITIVE_BLOCK_SIZE
from keras_attention.ops.fused import explicit_scope
from keras_attention.recipes.candidates import CandidateBatches
from keras_attention.recipes.checkpoint import (
    Checkpoints,
    CopyState,
    Progress,
    SaveCheckpoint,
)
from keras_attention.recipes.resume import (
    check_settings,
    environment,
    fingerprints,
    remove_state,
    training_lock,
    warn_of_environment,
)
from keras_attention.recipes.save_best import SCORE_FILE, SaveBestTask
from keras_attention.recipes.training_config import Metric, TrainingConfig
from keras_attention.tasks.translator import Translator
from keras_attention.text import bucketed_batches, packed_pair_batches, repeat_batch
from keras_attention.training import (
    Bfloat16,
    GenerationScore,
    LinearWarmup,
    MaskedCrossEntropy,
    MinimumRisk,
    MovingAverage,
    Noam,
    RaiseOnNonFinite,
    RDrop,
    SetEpoch,
    TokenAccuracy,
    average_weights,
)
from keras_attention.training.callbacks import check_finite
from keras_attention.training.state import restore_state
from keras_attention.utils.atomic_io import check_replaceable, read_json
from keras_attention.utils.validation import check_pairs

Pair = tuple[str, str]


def fit(
    task: Translator,
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    folder: str | Path,
    config: TrainingConfig | None = None,
) -> keras.callbacks.History:
    """Trains a translator with `model.fit` and saves the task whenever its score improves.

    A call with the same arguments resumes an interrupted training after its last complete epoch,
    and ends as if it had not been interrupted: variables, optimizer, order of the data, dropout,
    scores and best task are equal bit for bit, with the same versions, backend, number of threads
    and XLA flags. After Ctrl-C before the first score, the folder holds the current task, unless it
    already held one.

    Args:
        task: Translator to train. Its strategy generates the validation outputs. A packed
            Transformer is trained on rows of `max_length` tokens that hold several pairs.
        pairs: Training pairs, `(source, target)`.
        validation: Validation pairs, scored after each epoch.
        folder: Folder of the saved task; always holds the task with the best score so far.
        config: Training options. `None` is `TrainingConfig()`.

    Returns:
        The history of all epochs, including those before an interruption.

    Raises:
        ValueError: If the folder holds anything but a task, another process trains in it, an
            interrupted training in it had other settings or all its checkpoints are damaged, a
            packed model gets a `batch_size`, or `batch_tokens` of less than a row, or the loss, a
            score or a weight becomes NaN or infinite. The folder then holds the best task so far,
            if there is one.
        OSError: If the disk is full. The call can be repeated once there is room.

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
    check_pairs("pairs", pairs)
    check_pairs("validation", validation)
    metric = config.metric or _default_metric(config)
    data, loss = _data_and_loss(task, pairs, metric, config)
    task.model.compile(
        _optimizer(config, config.epochs * len(data)),
        loss,
        # accuracy on candidates of beam search would say nothing
        metrics=[TokenAccuracy()] if config.risk_weight is None else [],
        jit_compile=config.jit_compile,
    )
    task.model.optimizer.build(task.model.trainable_variables)
    with training_lock(folder) as state_folder:
        checkpoints = Checkpoints(state_folder, config.average_checkpoints)
        settings = {**config.resume_settings(), **fingerprints(task, pairs, validation)}
        start = _start_or_resume(task, checkpoints, settings)
        best, best_epoch = _best_task(folder, config.metric_name, start)
        save_best = SaveBestTask(
            task, folder, config.metric_name, start.run_id, best, best_epoch, config.patience
        )
        score = _validation_score(task, validation, metric, config)
        bfloat16 = [Bfloat16()] if config.bfloat16 else []
        copy_state = CopyState()
        save_checkpoint = SaveCheckpoint(checkpoints, copy_state, save_best, start)
        # Their order is that of a completed epoch. An interrupted one is repeated.
        callbacks = [
            SetEpoch(data),
            *bfloat16,
            RaiseOnNonFinite(),
            copy_state,  # before an average is shown
            *([MovingAverage()] if config.ema_momentum is not None else []),
            score,
            save_best,
            save_checkpoint,
        ]
        try:
            # Short texts never need a fused form, so their graphs need not contain it.
            is_short = config.max_length <= ADDITIVE_BLOCK_SIZE
            with explicit_scope(True if is_short else None):
                history = _fit_remaining_epochs(task.model, data, config.epochs, callbacks, start)
            progress = save_checkpoint.progress
            history.epoch, history.history = list(range(progress.epoch)), progress.history
            if config.average_checkpoints > 1:
                _score_average(checkpoints.weight_files(progress.epoch), progress, score, save_best)
        except KeyboardInterrupt:
            for callback in bfloat16:
                callback.restore()
            if save_best.best is None and not (folder / "task.json").is_file():
                task.save(folder)
            raise
        if save_best.best is None:
            task.save(folder)
        remove_state(folder)
    return history


def _start_or_resume(task: Translator, checkpoints: Checkpoints, settings: dict) -> Progress:
    """Returns the progress of an interrupted training, whose state the model gets, or a new one."""
    settings = json.loads(json.dumps(settings))  # as they are read again
    loaded = checkpoints.load()
    if loaded is None:
        return Progress(
            run_id=uuid.uuid4().hex,
            epoch=0,
            best=None,
            best_epoch=0,
            stopped=False,
            history={},
            settings=settings,
            environment=environment(),
        )
    state, progress = loaded
    check_settings(settings, progress.settings, checkpoints.folder)
    warn_of_environment(progress.environment)
    restore_state(task.model, state)
    return progress


def _best_task(folder: Path, monitor: str, start: Progress) -> tuple[float | None, int]:
    """Returns score and epoch of the best task of this training in the folder, if there is one."""
    try:
        saved = read_json(folder / SCORE_FILE)
    except ValueError:
        saved = {}
    if saved.get("run_id") != start.run_id:
        if start.best is not None:
            warnings.warn(
                f"{folder} no longer holds the best task of the interrupted training, of epoch "
                f"{start.best_epoch}. The next score counts as the best.",
                stacklevel=2,
            )
        return None, 0
    if saved.get("epoch", 0) > start.epoch:  # saved in the epoch that is repeated
        return saved.get(monitor), saved["epoch"]
    return start.best, start.best_epoch


def _fit_remaining_epochs(
    model: keras.Model, data: Any, epochs: int, callbacks: list, start: Progress
) -> keras.callbacks.History:
    """Calls `model.fit`, unless the interrupted training had no epoch left."""
    if start.stopped or start.epoch >= epochs:
        model.optimizer.finalize_variable_values(model.trainable_variables)  # as `fit` does
        return keras.callbacks.History()
    return model.fit(
        data,
        initial_epoch=start.epoch,
        epochs=epochs,
        callbacks=callbacks,
        shuffle=False,
        # a progress bar is for terminals; in a file it is one line per batch
        verbose="auto" if sys.stdout.isatty() else 2,
    )


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
    tokenizers = task.source_tokenizer, task.target_tokenizer
    if task.model.packed:
        length = config.max_length
        data = packed_pair_batches(
            pairs, *tokenizers, length, _rows_per_batch(config), seed=config.seed
        )
    else:
        data = bucketed_batches(pairs, *tokenizers, **options)
    if config.r_drop_alpha is not None:
        return repeat_batch(data), RDrop(config.r_drop_alpha, smoothing)
    return data, MaskedCrossEntropy(smoothing)


def _rows_per_batch(config: TrainingConfig) -> int:
    """Returns the number of rows in a batch of packed pairs."""
    rows = (config.batch_tokens or 0) // config.max_length
    if config.batch_size is not None or not rows:
        raise ValueError(
            "For a packed model, `batch_size` must be `None`, and `batch_tokens` at least "
            f"`max_length`, the length of a row. Received: batch_size={config.batch_size}, "
            f"batch_tokens={config.batch_tokens}, max_length={config.max_length}"
        )
    return rows


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


def _score_average(
    files: list[Path], progress: Progress, score: GenerationScore, save_best: SaveBestTask
) -> None:
    """Sets the model to the average of weights, scores it, and saves it if it is best."""
    save_best.task.model.set_weights(average_weights(files))
    average_score = score.measure()
    check_finite(score.name, average_score, progress.epoch - 1)
    print(f"{save_best.monitor} of {len(files)} epochs averaged: {average_score:.4f}; ", end="")
    best = "not scored"
    if progress.best is not None:
        best = f"{progress.best:.4f} (epoch {progress.best_epoch})"
    print(f"best epoch: {best}")
    save_best.save_if_best(average_score, progress.epoch, averaged_epochs=len(files))


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
