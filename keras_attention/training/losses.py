"""Cross-entropy over the tokens that are not padding."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from keras_attention.ops.cross_entropy import projected_cross_entropy
from keras_attention.ops.replicas import replica_weight
from keras_attention.training.metrics import TokenMetric
from keras_attention.training.token_losses import token_losses, token_weights
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
        return self._weigh_replica(super().__call__(y_true, y_pred, weight), weight)

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
        return self._weigh_replica(mean(tokens.loss, tokens.loss, weight), weight)

    def _weigh_replica(self, loss, weight):
        """Makes the mean that of all replicas of `tf.distribute`, weighted by their tokens."""
        if self.reduction != "mean_with_sample_weight":
            return loss
        factor = replica_weight(weight)
        return loss if factor is None else loss * factor

    def get_config(self) -> dict:
        config = {**super().get_config(), "label_smoothing": self.label_smoothing}
        if self.block_size is not None:  # subclasses do not have it
            config["block_size"] = self.block_size
        return config


class _Mean(keras.losses.Loss):
    """Reduction of losses that are known already, as Keras does it under each strategy."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred
