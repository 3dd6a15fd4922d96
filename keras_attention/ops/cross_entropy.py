"""Output projection and cross-entropy in blocks of tokens, without all logits in memory."""

from typing import Any, NamedTuple

from keras import ops

from keras_attention.ops.ids import PAD
from keras_attention.ops.loop import scan
from keras_attention.types import Tensor


class TokenLosses(NamedTuple):
    """Cross-entropy of each token, 0 at padding and NaN for labels out of range.

    Attributes:
        loss: with label smoothing, float32 (B, T).
        nll: negative log-likelihood, without label smoothing, float32 (B, T); no gradient.
        is_correct: 1 where the label has the highest logit, else 0, float32 (B, T); no gradient.
    """

    loss: Tensor
    nll: Tensor
    is_correct: Tensor


def projected_cross_entropy(
    labels: Tensor,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    label_smoothing: float = 0.0,
    block_size: int = 512,
) -> TokenLosses:
    """Computes the cross-entropy of labels and the logits `x W + b`, a block of tokens at a time.

    The gradient computes the logits of each block again (Chen et al. 2016), so that neither pass
    holds more than those of `block_size` tokens. A training step then has four products of the
    size of the projection in place of three.

    Args:
        labels: label ids, (B, T), 0 at padding.
        x: vectors, (B, T, D).
        kernel: (D, V).
        bias: (V,), or `None`.
        label_smoothing: part of the target that is spread evenly over the vocabulary.
        block_size: maximum number of tokens in a block.

    References:
        Chen et al. 2016, [Training Deep Nets with Sublinear Memory
        Cost](https://arxiv.org/abs/1604.06174).

    Example:

    >>> import numpy as np
    >>> labels, x = np.array([[3, 2, 0]]), np.zeros((1, 3, 4), "float32")
    >>> losses = projected_cross_entropy(labels, x, np.ones((4, 8), "float32"))
    >>> [round(float(loss), 4) for loss in losses.loss[0]]  # log(8), log(8) and padding
    [2.0794, 2.0794, 0.0]
    """
    labels = ops.cast(labels, "int32")
    vocabulary_size = kernel.shape[-1]
    in_range = ops.logical_and(labels >= 0, labels < vocabulary_size)
    blocks = _Blocks(ops.shape(x), block_size)
    block_labels = blocks.split(ops.expand_dims(ops.where(in_range, labels, PAD), -1))  # (N, K, 1)
    smoothing = label_smoothing / vocabulary_size

    def project(x, kernel, bias):
        logits = ops.cast(ops.matmul(x, kernel), "float32")  # (N, V)
        return ops.add(logits, ops.cast(bias[0], "float32")) if bias else logits

    @ops.custom_gradient
    def cross_entropy(x, kernel, *bias):
        block_x = blocks.split(x)  # (N, K, D)

        def forward(carry, inputs):
            x, labels = inputs  # (N, D), (N, 1)
            logits = project(x, kernel, bias)
            lse = ops.logsumexp(logits, axis=-1, keepdims=True)  # (N, 1)
            target = ops.take_along_axis(logits, labels, axis=-1)  # (N, 1)
            loss = lse - target
            if label_smoothing:
                mean = ops.mean(logits, axis=-1, keepdims=True)
                loss = loss + label_smoothing * (target - mean)
            is_correct = ops.equal(ops.argmax(logits, axis=-1, keepdims=True), labels)
            columns = [loss, lse - target, ops.cast(is_correct, "float32"), lse]
            return carry, ops.concatenate(columns, axis=-1)

        unused = ops.zeros((1,))
        outputs = ops.zeros((blocks.size, 4))
        _, results = scan(forward, unused, (block_x, block_labels), outputs)  # (N, K, 4)

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream  # (N, K, 4)
            transposed = ops.transpose(kernel)  # (V, D)

            def backward(carry, inputs):
                x, labels, lse, upstream = inputs  # (N, D), (N, 1), (N, 1), (N, 1)
                probability = ops.exp(project(x, kernel, bias) - lse)  # (N, V)
                is_label = ops.equal(ops.arange(vocabulary_size), labels)
                targets = ops.where(is_label, 1 - label_smoothing + smoothing, smoothing)
                logits_gradient = (probability - targets) * upstream
                half = ops.cast(logits_gradient, x.dtype)
                sums = [ops.matmul(ops.transpose(x), half)]
                if bias:
                    sums.append(ops.sum(logits_gradient, axis=0))
                pairs = zip(carry, sums, strict=True)
                carry = [total + ops.cast(each, "float32") for total, each in pairs]
                return carry, ops.matmul(half, transposed)

            carry = [ops.zeros(array.shape) for array in (kernel, *bias)]
            inputs = (block_x, block_labels, results[..., 3:], upstream[..., :1])
            outputs = ops.zeros((blocks.size, x.shape[-1]), x.dtype)
            sums, x_gradient = scan(backward, carry, inputs, outputs)
            pairs = zip(sums, (kernel, *bias), strict=True)
            sums = [ops.cast(total, array.dtype) for total, array in pairs]
            return (blocks.join(x_gradient), *sums)

        return results, gradient

    arrays = [kernel] if bias is None else [kernel, bias]
    results = blocks.join(cross_entropy(x, *map(ops.convert_to_tensor, arrays)))  # (B, T, 4)
    loss, nll, is_correct = (results[..., column] for column in range(3))
    is_padding = ops.equal(labels, PAD)

    def finish(values):
        return ops.where(is_padding, 0.0, ops.where(in_range, values, float("nan")))

    no_gradient = ops.stop_gradient
    return TokenLosses(
        finish(loss), no_gradient(finish(nll)), no_gradient(ops.where(is_padding, 0.0, is_correct))
    )


class _Blocks:
    """Division of the tokens of a batch into blocks of equal size, filled up with zeros.

    Token i is row `i // count` of block `i % count`.
    """

    def __init__(self, shape: tuple, max_size: int):
        self.batch, self.time = shape[:2]
        tokens = self.batch * self.time
        self.count = tokens // max_size + 1
        self.size = tokens // self.count + 1
        self.missing = self.count * self.size - tokens

    def split(self, x: Tensor) -> Any:
        """(B, T, D) -> (size, count, D)."""
        width = x.shape[-1]
        flat = ops.reshape(x, (self.batch * self.time, width))
        flat = ops.concatenate([flat, ops.zeros((self.missing, width), flat.dtype)])
        return ops.reshape(flat, (self.size, self.count, width))

    def join(self, x: Tensor) -> Any:
        """(size, count, D) -> (B, T, D)."""
        width = x.shape[-1]
        flat = ops.reshape(x, (self.size * self.count, width))
        return ops.reshape(flat[: self.batch * self.time], (self.batch, self.time, width))
