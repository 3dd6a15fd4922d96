"""Options of `fit`, and of the command `keras-attention train`."""

import dataclasses
from collections.abc import Callable
from typing import Any

Metric = Callable[[list[str], list[str]], float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Options of `fit`, and of the command `keras-attention train`.

    | `decay` | learning rate after the linear warm-up | `beta_2` and `epsilon` of Adam |
    | --- | --- | --- |
    | `"linear"` | falls linearly to 0 at the last step | 0.999, 1e-7: Keras's defaults |
    | `"inverse_sqrt"` | 1 / sqrt(step) | 0.98, 1e-9: Vaswani et al. 2017, section 5.3 |

    Args:
        epochs: Number of passes over the pairs.
        batch_size: Maximum number of pairs in a batch. `None` is 64, or no limit if
            `batch_tokens` is set.
        batch_tokens: Maximum number of tokens in one side of a batch, including padding. `None`
            sets no limit. A packed model requires it, in place of `batch_size`.
        max_length: Maximum number of tokens in a sentence, including `[END]`; longer sentences
            are truncated.
        learning_rate: Peak learning rate of Adam.
        warmup_steps: Number of steps in which the learning rate rises to its peak.
        decay: Schedule of the learning rate after the warm-up, see the table.
        label_smoothing: Label smoothing of the cross-entropy.
        average_checkpoints: Number of last epochs whose weights are averaged when training ends.
            The average is scored too, and saved if its score is the best. 1 averages nothing.
        ema_momentum: Momentum of a moving average of the weights, such as 0.999. The average is
            scored and saved after each epoch. `None` computes none.
        r_drop_alpha: Weight of the divergence in `RDrop`, such as 5. Each batch then passes
            through the model twice, in twice the time and memory. `None` trains with the
            cross-entropy alone.
        risk_weight: Weight of `MinimumRisk` per point of the metric, such as 0.12 for BLEU, to
            train a trained task further. An epoch is then about 3,072 of the pairs, drawn anew
            and translated by beam search at its beginning; see `CandidateBatches`.
        bfloat16: Whether matrix products of the training step are computed in bfloat16, by
            `training.Bfloat16`. Scored and saved weights are float32.
        jit_compile: As in `model.compile`. On a CPU under TensorFlow `"auto"` is off, although
            XLA trains RNNs with input feeding faster there; each bucket length is compiled once.
        patience: Number of epochs without a better score before training stops. `None` never
            stops early.
        validation_freq: Number of epochs between two scores.
        metric: Callable `metric(hypotheses, references)`; higher is better. `None` is BLEU.
        metric_name: Name of the metric in the logs.
        bleu_tokenize: Tokenizer of sacrebleu for the default metric.
        seed: Seed of the order of the pairs.

    Raises:
        ValueError: If an option has an invalid value, or two options exclude each other.

    Example:

    >>> TrainingConfig(batch_tokens=4096, decay="inverse_sqrt", average_checkpoints=10).epochs
    20
    """

    epochs: int = 20
    batch_size: int | None = None
    batch_tokens: int | None = None
    max_length: int = 100
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    decay: str = "linear"
    label_smoothing: float = 0.1
    average_checkpoints: int = 1
    ema_momentum: float | None = None
    r_drop_alpha: float | None = None
    risk_weight: float | None = None
    bfloat16: bool = False
    jit_compile: bool | str = "auto"
    patience: int | None = None
    validation_freq: int = 1
    metric: Metric | None = None
    metric_name: str = "val_bleu"
    bleu_tokenize: str = "13a"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.decay not in ("linear", "inverse_sqrt"):
            raise ValueError(
                f"`decay` must be 'linear' or 'inverse_sqrt'. Received: decay={self.decay!r}"
            )
        if self.average_checkpoints < 1:
            raise ValueError(
                "`average_checkpoints` must be at least 1. "
                f"Received: average_checkpoints={self.average_checkpoints}"
            )
        if self.ema_momentum is not None and not 0 < self.ema_momentum < 1:
            raise ValueError(
                "`ema_momentum` must be between 0 and 1. "
                f"Received: ema_momentum={self.ema_momentum}"
            )
        if self.ema_momentum is not None and self.average_checkpoints > 1:
            raise ValueError(
                "`ema_momentum` and `average_checkpoints` cannot be combined. Received: "
                f"ema_momentum={self.ema_momentum}, average_checkpoints={self.average_checkpoints}"
            )
        if self.risk_weight is not None and self.r_drop_alpha is not None:
            raise ValueError(
                "`risk_weight` and `r_drop_alpha` cannot be combined. Received: "
                f"risk_weight={self.risk_weight}, r_drop_alpha={self.r_drop_alpha}"
            )

    @property
    def max_batch_size(self) -> int:
        """Maximum number of pairs in a batch, resolved if `batch_size` is `None`."""
        return self.batch_size or self.batch_tokens or 64

    def resume_settings(self) -> dict[str, Any]:
        """Returns the options that must not change when an interrupted training is resumed.

        They are all but `metric`, of which only `metric_name` can be compared.
        """
        settings = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "metric"  # functions cannot be compared
        }
        return {**settings, "batch_size": self.max_batch_size}
