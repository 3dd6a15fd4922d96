"""Cross-entropy over the tokens that are there, and the two metrics that read beside it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.ops import masks
from keras_attention.ops.ids import PAD


@keras.saving.register_keras_serializable(package="keras_attention")
class MaskedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of sparse labels and logits, averaged over the tokens that are not padding.

    With `lse` the log of the summed exponentials of the logits `z` (B, T, V), the loss of a token
    with label `y` is `lse - (1 - e) * z[y] - e * mean(z)`: the cross-entropy with the smoothed
    targets `(1 - e) * onehot(y) + e / V` (Szegedy et al. 2016, section 7), without building them.
    It is computed in float32, whatever the dtype policy.

    Labels equal to 0 are padding: they add nothing to the sum nor to the number it is divided by.
    A batch that is nothing but padding has a loss of 0. With `sample_weight` the result is the
    weighted mean, `sum(weight * loss) / sum(weight)` over the tokens that are not padding.

    Args:
        label_smoothing: `e`, how much of the target is spread evenly over the vocabulary.
        reduction: `"mean_with_sample_weight"`, the mean described above; `"sum"`; or `"none"`, for
            one loss per token, (B, T), 0 where there is padding. Keras's other means divide by the
            number of all positions, padding included, and are refused.
        name: Name of the loss.

    Call arguments:
        y_true: Label ids, (B, T).
        y_pred: Logits, (B, T, V).
        sample_weight: Optional weights, (B,) or (B, T).

    Raises:
        ValueError: If `label_smoothing` is not in [0, 1), the reduction is not one of the above,
            the shapes do not fit, or labels given as a NumPy array or a list are not in [0, V).
            A label out of range in a tensor, where a check would stop compiled code, makes the
            loss NaN on every backend; `keras.callbacks.TerminateOnNaN` stops at it.

    References:
        Szegedy et al. 2016, [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567).

    Example:

    >>> import numpy as np
    >>> loss = MaskedCrossEntropy()
    >>> labels = np.array([[3, 2, 0, 0]])  # two tokens, two of padding
    >>> round(float(loss(labels, np.zeros((1, 4, 8)))), 4) == round(float(np.log(8)), 4)
    True
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        reduction: str | None = "mean_with_sample_weight",
        name: str = "masked_cross_entropy",
    ):
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"`label_smoothing` must be in [0, 1). Received: label_smoothing={label_smoothing}"
            )
        if reduction not in ("mean_with_sample_weight", "sum", "none", None):
            raise ValueError(
                '`reduction` must be "mean_with_sample_weight", "sum" or "none". '
                f"Received: reduction={reduction!r}"
            )
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.label_smoothing = label_smoothing

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        weight = token_weights(y_true, y_pred, sample_weight)  # (B, T), 0 where padding
        return super().__call__(y_true, y_pred, weight)

    def call(self, y_true: Any, y_pred: Any):
        return token_losses(y_true, y_pred, self.label_smoothing)

    def get_config(self) -> dict:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="keras_attention")
class TokenAccuracy(keras.metrics.Mean):
    """The share of tokens whose label has the highest logit; padding is not counted.

    Args:
        name: Name of the metric.
        dtype: The dtype of its counters.

    Call arguments:
        y_true: Label ids, (B, T), 0 where there is padding.
        y_pred: Logits or probabilities, (B, T, V).
        sample_weight: Optional weights, (B,) or (B, T).

    Example:

    >>> import numpy as np
    >>> metric = TokenAccuracy()
    >>> metric.update_state(np.array([[1, 2, 0]]), np.eye(3)[[[1, 1, 1]]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, name: str = "token_accuracy", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        weight = token_weights(y_true, y_pred, sample_weight)
        hits = ops.equal(ops.argmax(y_pred, axis=-1), ops.cast(y_true, "int32"))  # (B, T)
        # Flat, for Mean averages over time first: tokens of longer batches would count for less.
        return super().update_state(ops.ravel(hits), sample_weight=ops.ravel(weight))  # (B * T,)


@keras.saving.register_keras_serializable(package="keras_attention")
class Perplexity(keras.metrics.Mean):
    """The exponential of the mean negative log-likelihood of the tokens that are not padding.

    It takes what `TokenAccuracy` takes, but `y_pred` must be logits.

    Args:
        name: Name of the metric.
        dtype: The dtype of its counters.

    Example:

    >>> import numpy as np
    >>> metric = Perplexity()
    >>> metric.update_state(np.array([[1, 2, 0]]), np.zeros((1, 3, 10)))
    >>> round(float(metric.result()), 3)
    10.0
    """

    def __init__(self, name: str = "perplexity", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        weight = token_weights(y_true, y_pred, sample_weight)
        losses = token_losses(y_true, y_pred)  # (B, T)
        return super().update_state(ops.ravel(losses), sample_weight=ops.ravel(weight))  # (B * T,)

    def result(self):
        return ops.exp(super().result())


def token_losses(labels: Any, logits: Any, label_smoothing: float = 0.0):
    """Cross-entropy of each token in float32: labels (B, T), logits (B, T, V) -> (B, T)."""
    labels = ops.cast(labels, "int32")
    vocabulary = logits.shape[-1]
    known = ops.logical_and(labels >= 0, labels < vocabulary)
    chosen = ops.expand_dims(ops.where(known, labels, PAD), -1)  # (B, T, 1)

    # By hand: the gradient of a gather is a scatter into the vocabulary, on one core and as long
    # as the rest of a step, and each reader of the logits would pass them on once.
    @ops.custom_gradient
    def cross_entropy(logits):
        dtype = logits.dtype
        logits = ops.cast(logits, "float32")
        lse = ops.logsumexp(logits, axis=-1)  # (B, T)
        target = ops.squeeze(ops.take_along_axis(logits, chosen, axis=-1), -1)  # (B, T)
        if label_smoothing:
            smooth = ops.mean(logits, axis=-1)  # (B, T)
            target = (1 - label_smoothing) * target + label_smoothing * smooth

        def gradient(*args, upstream=None):
            upstream = ops.expand_dims(args[0] if upstream is None else upstream, -1)  # (B, T, 1)
            probability = ops.exp(logits - ops.expand_dims(lse, -1))  # (B, T, V)
            hit = ops.equal(ops.arange(vocabulary), chosen)
            smooth = label_smoothing / vocabulary
            wanted = ops.where(hit, 1 - label_smoothing + smooth, smooth)
            return ops.cast((probability - wanted) * upstream, dtype)

        return lse - target, gradient

    losses = ops.where(known, cross_entropy(logits), float("nan"))
    return ops.where(ops.equal(labels, PAD), 0.0, losses)


def token_weights(labels: Any, logits: Any, sample_weight: Any = None):
    """The weight of each token in float32, 0 where there is padding: (B, T).

    Raises:
        ValueError: If the shapes of labels (B, T), logits (B, T, V) and weights (B,) or (B, T) do
            not fit, or if labels that are a NumPy array or a list are not in [0, V).
    """
    if isinstance(labels, (np.ndarray, list, tuple)):
        labels = np.asarray(labels)
    shape = tuple(ops.shape(logits))
    check_labels(labels, shape)
    kept = ops.cast(masks.padding_mask(labels), "float32")  # (B, T)
    if sample_weight is None:
        return kept
    weight = ops.cast(sample_weight, "float32")
    if len(weight.shape) not in (1, len(kept.shape)):
        raise ValueError(
            "`sample_weight` must have one weight per sequence or one per token, for labels of "
            f"shape {tuple(labels.shape)}. Received: sample_weight.shape={tuple(weight.shape)}"
        )
    if len(weight.shape) == 1:
        weight = ops.reshape(weight, (-1,) + (1,) * (len(kept.shape) - 1))  # (B, 1)
    return kept * weight


def check_labels(labels: Any, logits_shape: tuple) -> None:
    """Raises ValueError where labels (B, T) cannot belong to logits of shape (B, T, V)."""
    pairs = zip(labels.shape, logits_shape[:-1], strict=False)
    fits = all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))
    if len(labels.shape) != len(logits_shape) - 1 or not fits:
        raise ValueError(
            "Labels must be ids, (batch, time), for logits (batch, time, vocabulary). Received: "
            f"labels.shape={tuple(labels.shape)}, logits.shape={logits_shape}"
        )
    if isinstance(labels, np.ndarray) and labels.size:
        low, high = labels.min(), labels.max()
        if low < 0 or high >= logits_shape[-1]:
            raise ValueError(
                f"Labels must be ids in [0, {logits_shape[-1]}), the vocabulary of the logits. "
                f"Received: labels from {low} to {high}"
            )
