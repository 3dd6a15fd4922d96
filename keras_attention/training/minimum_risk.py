"""Minimum risk: what the model's own answers cost, expected over a few of them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_attention.generation.logits_processors import MIN_LOG_PROB
from keras_attention.ops import masks
from keras_attention.training.losses import MaskedCrossEntropy, token_losses


@keras.saving.register_keras_serializable(package="keras_attention")
class MinimumRisk(MaskedCrossEntropy):
    """Expected cost of a model's answers, beside the cross-entropy of the reference.

    Rows come in groups, one for each source x: K answers that the model wrote, and then the
    reference. `sample_weight` is what each row costs, such as the BLEU that it lacks. With S(x)
    the candidates of a group (Shen et al. 2016, section 3)

        Q(y|x) = P(y|x)**sharpness / sum_{y' in S(x)} P(y'|x)**sharpness
        risk = sum_{y in S(x)} Q(y|x) * cost(y)

    and the loss is `cross_entropy + weight * mean(risk)`, the mean over sources, the cross-entropy
    that of `MaskedCrossEntropy` over the references: the two together are better than the risk
    alone (Edunov et al. 2018). The reference itself is not in S(x). It is computed in float32.

    Args:
        weight: Of the risk; choose it by the cost's scale.
        candidates: K; a group has one row more.
        sharpness: The paper's alpha: 0 has all candidates alike, 1 has the model's own odds.
        label_smoothing: As for `MaskedCrossEntropy`; of the references alone.
        name: Name of the loss.

    Call arguments:
        y_true: Label ids, (S * (K + 1), T), 0 where there is padding. A row of nothing
            but padding is a candidate that is not there.
        y_pred: Logits, (S * (K + 1), T, V).
        sample_weight: Cost of each row, (S * (K + 1),); a reference's is not read.

    Raises:
        ValueError: If there are no costs, the known number of rows is no multiple of a group's, an
            argument is out of range, or as `MaskedCrossEntropy` does.

    References:
        Shen et al. 2016, [Minimum Risk Training for Neural Machine
        Translation](https://arxiv.org/abs/1512.02433); Edunov et al. 2018, [Classical Structured
        Prediction Losses for Sequence to Sequence Learning](https://arxiv.org/abs/1711.04956).

    Example:

    >>> import numpy as np
    >>> loss = MinimumRisk(weight=1.0, candidates=2)
    >>> labels = np.array([[3, 2], [4, 2], [3, 2]])  # two candidates and the reference
    >>> logits = np.zeros((3, 2, 8))  # both candidates are as likely
    >>> risk = loss(labels, logits, [0.0, 1.0, 0.0]) - loss(labels, logits, [0.0, 0.0, 0.0])
    >>> round(float(risk), 4)
    0.5
    """

    def __init__(
        self,
        weight: float = 1.0,
        candidates: int = 5,
        sharpness: float = 0.5,
        label_smoothing: float = 0.0,
        name: str = "minimum_risk",
    ):
        if not (weight >= 0 and sharpness >= 0 and candidates >= 1):
            raise ValueError(
                "`weight` and `sharpness` must be 0 or more and `candidates` 1 or more. Received: "
                f"weight={weight}, sharpness={sharpness}, candidates={candidates}"
            )
        super().__init__(label_smoothing, name=name)
        self.weight = weight
        self.candidates = candidates
        self.sharpness = sharpness

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        group, rows = self.candidates + 1, y_pred.shape[0]
        if sample_weight is None:
            raise ValueError("MinimumRisk needs what each row costs. Received: sample_weight=None")
        if rows is not None and rows % group:
            raise ValueError(
                f"MinimumRisk needs groups of {self.candidates} candidates and a reference. "
                f"Received: {rows} rows"
            )
        is_reference = ops.equal(ops.arange(ops.shape(y_pred)[0]) % group, self.candidates)
        cross_entropy = super().__call__(y_true, y_pred, ops.cast(is_reference, "float32"))
        costs = ops.reshape(ops.cast(sample_weight, "float32"), (-1, group))[:, :-1]  # (S, K)
        risk = ops.sum(self.odds(y_true, y_pred) * costs, axis=1)  # (S,)
        return cross_entropy + self.weight * ops.mean(risk)

    def odds(self, y_true: Any, y_pred: Any):
        """`Q(y|x)` of the candidates of each source, (S, K), float32."""
        log_probs = -ops.sum(token_losses(y_true, y_pred), axis=1)  # (S * (K + 1),)
        there = ops.any(masks.padding_mask(y_true), axis=1)
        log_probs = ops.where(there, self.sharpness * log_probs, MIN_LOG_PROB)
        return ops.softmax(ops.reshape(log_probs, (-1, self.candidates + 1))[:, :-1])

    def get_config(self) -> dict:
        config = super().get_config()
        del config["reduction"]  # there is one
        names = "weight", "candidates", "sharpness"
        return {**config, **{name: getattr(self, name) for name in names}}
