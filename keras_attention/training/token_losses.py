"""Cross-entropy of each token, and the weights of tokens, 0 at padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_attention.ops import masks
from keras_attention.ops.ids import PAD
from keras_attention.types import Tensor


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
