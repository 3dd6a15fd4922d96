"""Cross-entropy, token accuracy and perplexity over the tokens that are not padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.ops import masks
from keras_attention.ops.cross_entropy import TokenLosses, projected_cross_entropy
from keras_attention.ops.ids import PAD
from keras_attention.types import Tensor
from keras_attention.utils.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class MaskedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of sparse labels and logits, averaged over the tokens that are not padding.

    With label smoothing `e`, the targets are `(1 - e) * onehot(y) + e / V` (Szegedy et al. 2016,
    section 7). The loss of a token with label `y` and logits `z` is computed without building them:

        logsumexp(z) - (1 - e) * z[y] - e * mean(z)

    The computation is in float32 under every dtype policy.

    Labels equal to 0 are padding, and count neither in the sum nor in the number of tokens. A batch
    of padding only has a loss of 0. With `sample_weight`, the result is the weighted mean,
    `sum(weight * loss) / sum(weight)`, over the tokens that are not padding.

    With `block_size`, `fit` of an `EncoderDecoder` or a `CausalLM` computes the output projection
    and the loss for that many tokens at a time, so that the logits (B, T, V) are never all in
    memory. The values are the same, the metrics may be `TokenAccuracy` and `Perplexity`, and
    everything else, such as `evaluate` or another model, is unaffected.

    Args:
        label_smoothing: part of the target that is spread evenly over the vocabulary, `e`.
        reduction: `"mean_with_sample_weight"`, the mean described above; `"sum"`; or `"none"` for
            one loss per token, (B, T), 0 at padding. Keras's other reductions count padding in the
            mean and raise an error.
        name: name of the loss.
        block_size: number of tokens whose logits are in memory at a time, or `None` for all.

    Call arguments:
        y_true: label ids, (B, T).
        y_pred: logits, (B, T, V).
        sample_weight: optional weights, (B,) or (B, T).

    Raises:
        ValueError: If `label_smoothing` is not in [0, 1), `block_size` is not positive, the
            reduction is not one of the above, the shapes do not match, or labels in a NumPy array
            or list are not in [0, V). Labels in a tensor cannot be checked in compiled code: one
            out of range makes the loss NaN, which `keras.callbacks.TerminateOnNaN` detects.

    References:
        Szegedy et al. 2016, [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567).

    Example:

    >>> import numpy as np
    >>> loss = MaskedCrossEntropy()
    >>> labels = np.array([[3, 2, 0, 0]])  # two tokens and padding
    >>> round(float(loss(labels, np.zeros((1, 4, 8)))), 4) == round(float(np.log(8)), 4)
    True
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        reduction: str | None = "mean_with_sample_weight",
        name: str = "masked_cross_entropy",
        block_size: int | None = None,
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
        if block_size is not None:
            check_positive("block_size", block_size)
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.label_smoothing = label_smoothing
        self.block_size = block_size

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None):
        weight = token_weights(y_true, ops.shape(y_pred), sample_weight)  # (B, T), 0 at padding
        return super().__call__(y_true, y_pred, weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return token_losses(y_true, y_pred, self.label_smoothing)

    def from_vectors(
        self,
        y_true: Tensor,
        vectors: Tensor,
        kernel: Tensor,
        bias: Tensor | None = None,
        sample_weight: Tensor | None = None,
        metrics: Sequence[TokenMetric] = (),
    ) -> Tensor:
        """Computes the loss of the logits `vectors W + b`, `block_size` tokens at a time.

        Args:
            y_true: label ids, (B, T).
            vectors: inputs of the output projection, (B, T, D).
            kernel: W, (D, V).
            bias: b, (V,), or `None`.
            sample_weight: optional weights, (B,) or (B, T).
            metrics: `TokenAccuracy` and `Perplexity` to update.

        Returns:
            The loss, a scalar.

        Raises:
            ValueError: If a metric is another one, or shapes or labels are wrong.
        """
        for metric in metrics:
            if not isinstance(metric, TokenMetric):
                raise ValueError(
                    "With `block_size`, metrics must be `TokenAccuracy` or `Perplexity`, since the "
                    f"logits are never all in memory. Received: {metric!r}"
                )
        assert self.block_size is not None  # the model computes all logits otherwise
        shape = (*ops.shape(vectors)[:-1], kernel.shape[-1])
        weight = token_weights(y_true, shape, sample_weight)  # (B, T), 0 at padding
        kernel = ops.cast(kernel, vectors.dtype)
        tokens = projected_cross_entropy(
            y_true, vectors, kernel, bias, self.label_smoothing, self.block_size
        )
        for metric in metrics:
            metric.update_from_tokens(tokens, token_weights(y_true, shape))
        mean = _Mean(name=self.name, reduction=self.reduction, dtype="float32")
        return mean(tokens.loss, tokens.loss, weight)

    def get_config(self) -> dict:
        config = {**super().get_config(), "label_smoothing": self.label_smoothing}
        if self.block_size is not None:  # subclasses do not have it
            config["block_size"] = self.block_size
        return config


class _Mean(keras.losses.Loss):
    """Reduction of losses that are known already, as Keras does it under each strategy."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred


class TokenMetric(keras.metrics.Mean):
    """Mean of a value of each token that is not padding."""

    def update_from_tokens(self, tokens: TokenLosses, weight: Tensor) -> None:
        """Updates the state from losses (B, T), and weights (B, T) that are 0 at padding."""
        raise NotImplementedError("TokenMetric is abstract.")

    def update_values(self, values: Tensor, weight: Tensor) -> None:
        """Updates the state with values (B, T)."""
        # Flattened, because Mean would average over time first, so that tokens of longer batches
        # would count less.
        super().update_state(ops.ravel(values), sample_weight=ops.ravel(weight))


@keras.saving.register_keras_serializable(package="keras_attention")
class TokenAccuracy(TokenMetric):
    """Fraction of the tokens, padding excluded, whose label has the highest logit.

    Args:
        name: name of the metric.
        dtype: dtype of its state.

    Call arguments:
        y_true: label ids, (B, T), 0 at padding.
        y_pred: logits or probabilities, (B, T, V).
        sample_weight: optional weights, (B,) or (B, T).

    Example:

    >>> import numpy as np
    >>> metric = TokenAccuracy()
    >>> metric.update_state(np.array([[1, 2, 0]]), np.eye(3)[[[1, 1, 1]]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, name: str = "token_accuracy", dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None):
        weight = token_weights(y_true, ops.shape(y_pred), sample_weight)
        is_correct = ops.equal(ops.argmax(y_pred, axis=-1), ops.cast(y_true, "int32"))  # (B, T)
        self.update_values(is_correct, weight)

    def update_from_tokens(self, tokens: TokenLosses, weight: Tensor) -> None:
        self.update_values(tokens.is_correct, weight)


@keras.saving.register_keras_serializable(package="keras_attention")
class Perplexity(TokenMetric):
    """Exponential of the mean negative log-likelihood of the tokens that are not padding.

    Args:
        name: name of the metric.
        dtype: dtype of its state.

    Call arguments:
        y_true: label ids, (B, T), 0 at padding.
        y_pred: logits, (B, T, V).
        sample_weight: optional weights, (B,) or (B, T).

    Example:

    >>> import numpy as np
    >>> metric = Perplexity()
    >>> metric.update_state(np.array([[1, 2, 0]]), np.zeros((1, 3, 10)))
    >>> round(float(metric.result()), 3)
    10.0
    """

    def __init__(self, name: str = "perplexity", dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None):
        weight = token_weights(y_true, ops.shape(y_pred), sample_weight)
        self.update_values(token_losses(y_true, y_pred), weight)

    def update_from_tokens(self, tokens: TokenLosses, weight: Tensor) -> None:
        self.update_values(tokens.nll, weight)

    def result(self):
        return ops.exp(super().result())


def token_losses(labels: Tensor, logits: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Returns the cross-entropy of each token, float32 (B, T).

    Args:
        labels: label ids, (B, T).
        logits: (B, T, V).
        label_smoothing: part of the target that is spread evenly over the vocabulary.
    """
    labels = ops.cast(labels, "int32")
    vocabulary_size = logits.shape[-1]
    in_range = ops.logical_and(labels >= 0, labels < vocabulary_size)
    indices = ops.expand_dims(ops.where(in_range, labels, PAD), -1)  # (B, T, 1)

    # The gradient is explicit for speed: that of a gather is a single-threaded scatter into the
    # vocabulary, and each use of the logits would contribute one gradient of their size.
    @ops.custom_gradient
    def cross_entropy(logits):
        dtype = logits.dtype
        logits = ops.cast(logits, "float32")
        lse = ops.logsumexp(logits, axis=-1)  # (B, T)
        target = ops.squeeze(ops.take_along_axis(logits, indices, axis=-1), -1)  # (B, T)
        if label_smoothing:
            mean = ops.mean(logits, axis=-1)  # (B, T)
            target = (1 - label_smoothing) * target + label_smoothing * mean

        def gradient(*args, upstream=None):
            upstream = ops.expand_dims(args[0] if upstream is None else upstream, -1)  # (B, T, 1)
            probability = ops.exp(logits - ops.expand_dims(lse, -1))  # (B, T, V)
            is_label = ops.equal(ops.arange(vocabulary_size), indices)
            smoothing = label_smoothing / vocabulary_size
            targets = ops.where(is_label, 1 - label_smoothing + smoothing, smoothing)
            return ops.cast((probability - targets) * upstream, dtype)

        return lse - target, gradient

    losses = ops.where(in_range, cross_entropy(logits), float("nan"))
    return ops.where(ops.equal(labels, PAD), 0.0, losses)


def token_weights(
    labels: Tensor, logits_shape: Sequence[Any], sample_weight: Tensor | None = None
) -> Tensor:
    """Returns the weight of each token, float32 (B, T), 0 at padding.

    Args:
        labels: label ids, (B, T).
        logits_shape: (B, T, V).
        sample_weight: optional weights, (B,) or (B, T).

    Raises:
        ValueError: If the shapes do not match, or labels in a NumPy array or list are not in
            [0, V).
    """
    if isinstance(labels, (np.ndarray, list, tuple)):
        labels = np.asarray(labels)
    check_labels(labels, tuple(logits_shape))
    mask = ops.cast(masks.padding_mask(labels), "float32")  # (B, T)
    if sample_weight is None:
        return mask
    weight = ops.cast(sample_weight, "float32")
    if len(weight.shape) not in (1, len(mask.shape)):
        raise ValueError(
            "`sample_weight` must have one weight per sequence or one per token. Received: "
            f"labels.shape={tuple(labels.shape)}, sample_weight.shape={tuple(weight.shape)}"
        )
    if len(weight.shape) == 1:
        weight = ops.reshape(weight, (-1,) + (1,) * (len(mask.shape) - 1))  # (B, 1)
    return mask * weight


def check_labels(labels: Tensor, logits_shape: tuple) -> None:
    """Raises a `ValueError` unless labels (B, T) match logits of shape (B, T, V)."""
    pairs = zip(labels.shape, logits_shape[:-1], strict=False)
    sizes_match = all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))
    if len(labels.shape) != len(logits_shape) - 1 or not sizes_match:
        raise ValueError(
            "`y_true` must be ids (batch, time) for logits (batch, time, vocabulary). Received: "
            f"labels.shape={tuple(labels.shape)}, logits.shape={logits_shape}"
        )
    if isinstance(labels, np.ndarray) and labels.size:
        low, high = labels.min(), labels.max()
        if low < 0 or high >= logits_shape[-1]:
            raise ValueError(
                f"`y_true` must be ids in [0, {logits_shape[-1]}), the vocabulary of the logits. "
                f"Received: labels from {low} to {high}"
            )
