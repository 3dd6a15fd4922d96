"""R-Drop: cross-entropy plus the divergence of two passes with different dropout."""

from __future__ import annotations

import keras
from keras import ops

from keras_attention.training.losses import MaskedCrossEntropy
from keras_attention.types import Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class RDrop(MaskedCrossEntropy):
    """Cross-entropy plus the divergence between two passes with different dropout.

    Each sentence is in the batch twice: the second half of the batch repeats the first half in the
    same order, as `keras_attention.text.repeat_batch` makes it. With the distributions p and q of a
    token in the two passes, the loss of each pass is that of `MaskedCrossEntropy` plus (equation 2
    of Liang et al. 2021)

        alpha / 2 * (KL(p || q) + KL(q || p)) / 2

    The result is half of the paper's equation 3, which sums the two passes; this is their mean, so
    the gradient's scale is that of training without R-Drop.

    Args:
        alpha: weight of the divergence; 5 in the paper for translation, 1 or less for other tasks.
        label_smoothing: see `MaskedCrossEntropy`.
        reduction: see `MaskedCrossEntropy`.
        name: name of the loss.

    Call arguments:
        y_true: label ids, (2 * B, T), the second half equal to the first.
        y_pred: logits, (2 * B, T, V).
        sample_weight: optional weights, (2 * B,) or (2 * B, T).

    Raises:
        ValueError: If `alpha` is negative, the number of rows is odd, or `MaskedCrossEntropy`
            raises it.

    References:
        Liang et al. 2021, [R-Drop: Regularized Dropout for Neural
        Networks](https://arxiv.org/abs/2106.14448).

    Example:

    >>> import numpy as np
    >>> loss = RDrop(alpha=5.0)
    >>> labels = np.array([[3, 2, 0], [3, 2, 0]])  # one sentence, twice
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
            raise ValueError(f"`alpha` must not be negative. Received: alpha={alpha}")
        super().__init__(label_smoothing, reduction, name)
        self.alpha = alpha

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        rows = y_pred.shape[0]
        if rows is not None and rows % 2:
            raise ValueError(
                "The batch must contain every sentence twice, its second half equal to the first. "
                f"Received: y_pred.shape={tuple(y_pred.shape)}"
            )
        losses = super().call(y_true, y_pred)  # (2 * B, T)
        divergence = self.alpha / 2 * symmetric_divergence(*ops.split(y_pred, 2))  # (B, T)
        return losses + ops.concatenate([divergence, divergence])

    def get_config(self) -> dict:
        return {**super().get_config(), "alpha": self.alpha}


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Returns `(KL(p || q) + KL(q || p)) / 2` of two distributions, float32 (B, T).

    It equals `sum((p - q) * (log(p) - log(q))) / 2`. The normalizers of the log-probabilities
    cancel, because `p - q` sums to 0, so logits take their place.

    Args:
        first: logits of p, (B, T, V).
        second: logits of q, (B, T, V).
    """
    first, second = ops.cast(first, "float32"), ops.cast(second, "float32")
    difference = ops.softmax(first, axis=-1) - ops.softmax(second, axis=-1)  # (B, T, V)
    return ops.sum(difference * (first - second), axis=-1) / 2
