"""R-Drop: what a model says under one dropout should be what it says under another."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_attention.training.losses import MaskedCrossEntropy


@keras.saving.register_keras_serializable(package="keras_attention")
class RDrop(MaskedCrossEntropy):
    """Cross-entropy, and how far two passes of the same sentences through dropout lie apart.

    The second half of the batch must be the first half again, in the same order:
    `keras_attention.text.repeat_batch` makes such batches. With `p` and `q` what the model gives a
    token in its two passes, the loss of both tokens is that of `MaskedCrossEntropy`, plus (equation
    2)

        alpha / 2 * (KL(p || q) + KL(q || p)) / 2

    so the mean over the batch is half of the paper's equation 3, which adds up the two passes where
    this is their mean: the step's size stays that of training without it.

    Args:
        alpha: Weight of the divergence; the paper's is 5 for translation, 1 or less for others.
        label_smoothing: As for `MaskedCrossEntropy`, and so the rest.
        reduction: With `"none"`, one loss per token.
        name: Name of the loss.

    Call arguments:
        y_true: Label ids, (2 * B, T), the second half equal to the first.
        y_pred: Logits, (2 * B, T, V).
        sample_weight: Optional weights, (2 * B,) or (2 * B, T).

    Raises:
        ValueError: If `alpha` is negative, the number of rows is known and odd, or as
            `MaskedCrossEntropy` does.

    References:
        Liang et al. 2021, [R-Drop: Regularized Dropout for Neural
        Networks](https://arxiv.org/abs/2106.14448).

    Example:

    >>> import numpy as np
    >>> loss = RDrop(alpha=5.0)
    >>> labels = np.array([[3, 2, 0], [3, 2, 0]])  # one sentence, repeat_batch
    >>> logits = np.random.default_rng(0).normal(size=(2, 3, 8))
    >>> bool(loss(labels, logits) > MaskedCrossEntropy()(labels, logits))
    True
    """

    def __init__(
        self,
        alpha: float = 5.0,
        label_smoothing: float = 0.0,
        reduction: str | None = "mean_with_sample_weight",
        name: str = "r_drop",
    ):
        if not alpha >= 0:
            raise ValueError(f"`alpha` must be 0 or more. Received: alpha={alpha}")
        super().__init__(label_smoothing, reduction, name)
        self.alpha = alpha

    def call(self, y_true: Any, y_pred: Any):
        rows = y_pred.shape[0]
        if rows is not None and rows % 2:
            raise ValueError(
                "RDrop needs every sentence twice, the second half of the batch equal to the "
                f"first. Received: a batch of {rows}"
            )
        losses = super().call(y_true, y_pred)  # (2 * B, T)
        divergence = self.alpha / 2 * symmetric_divergence(*ops.split(y_pred, 2))  # (B, T)
        return losses + ops.concatenate([divergence, divergence])

    def get_config(self) -> dict:
        return {**super().get_config(), "alpha": self.alpha}


def symmetric_divergence(first: Any, second: Any):
    """`(KL(p || q) + KL(q || p)) / 2` of two times logits (B, T, V), in float32 -> (B, T).

    The sum of the two is `sum((p - q) * (log(p) - log(q)))`. The logs of the normalizers are the
    same for a whole row of `p - q`, whose sum is 0: they may be left out.
    """
    first, second = ops.cast(first, "float32"), ops.cast(second, "float32")
    apart = ops.softmax(first, axis=-1) - ops.softmax(second, axis=-1)  # (B, T, V)
    return ops.sum(apart * (first - second), axis=-1) / 2
