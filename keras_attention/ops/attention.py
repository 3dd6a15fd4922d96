"""From scores to weights to context, for all kinds of attention."""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from keras_attention.ops import masks
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.dtypes import at_least_float32
from keras_attention.ops.linear import grouped_matmul
from keras_attention.ops.noise import SeededDropout
from keras_attention.types import Mask, Tensor


class Memory(NamedTuple):
    """Keys and values to attend to, projected once, before any loop over queries.

    Attributes:
        values: (B, S, D), averaged into the context.
        keys: (B, S, U), compared with the query, already projected.
        mask: bool (B, S), True means attend; `None` attends to all.
        positions: int (B, S) or (1, S), the positions of the keys; `None` where no layer reads
            them.

    With several heads, values and keys are (B, heads, S, head width).
    """

    values: Tensor
    keys: Tensor
    mask: Mask = None
    positions: Tensor | None = None


class AttentionOutput(NamedTuple):
    """Result of `BaseAttention.attend`.

    Attributes:
        context: (B, T, D), the weighted sum of the values; with several heads, its projection.
        weights: (B, T, S), or (B, H, T, S) with several heads; `None` unless requested.
        state: state of the next step, such as the weights (B, T, S) in monotonic attention; `None`
            for attention without state.
    """

    context: Tensor
    weights: Tensor | None = None
    state: Any = None


def masked_softmax(scores: Tensor, mask: Mask = None) -> Tensor:
    """Computes attention weights, the softmax over the keys that are not masked.

    Bahdanau et al. 2015, equation 6. The softmax is computed in float32 at least and cast back. A
    row in which everything is masked has weights 0 and passes no gradient.

    Args:
        scores: (B, T, S), or (B, H, T, S).
        mask: bool, broadcasts with the scores, True means attend.

    Returns:
        Weights of the same shape and dtype.

    Example:

    >>> from keras import ops
    >>> scores = ops.array([[[1.0, 1.0, 5.0], [1.0, 1.0, 5.0]]], "float32")
    >>> mask = ops.array([[[True, True, False], [False, False, False]]])
    >>> ops.convert_to_numpy(masked_softmax(scores, mask)).tolist()
    [[[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]]
    """
    scores = ops.convert_to_tensor(scores)
    dtype, scores = scores.dtype, at_least_float32(scores)
    if mask is None:
        return ops.cast(ops.softmax(scores, axis=-1), dtype)
    mask = ops.cast(mask, "bool")
    weights = ops.softmax(ops.where(mask, scores, masks.mask_value()), axis=-1)
    return ops.cast(ops.where(mask, weights, 0.0), dtype)


def context(weights: Tensor, values: Tensor) -> Tensor:
    """Computes the weighted sum of the values, `c_i = sum_j a_ij h_j`.

    Bahdanau et al. 2015, equation 5.

    Args:
        weights: (B, T, S) or (B, H, T, S).
        values: (B, S, D) or (B, G, S, D), where G divides H; head h of the weights applies to head
            `h // (H / G)` of the values.

    Returns:
        (B, T, D) or (B, H, T, D).

    Example:

    >>> from keras import ops
    >>> weights, values = ops.array([[[0.5, 0.5]]]), ops.array([[[2.0], [4.0]]])
    >>> ops.convert_to_numpy(context(weights, values)).tolist()
    [[[3.0]]]
    """
    return grouped_matmul(weights, values)


class AttentionOptions(NamedTuple):
    """Mask, positions and dropout of a call of attention.

    Attributes:
        mask: keys that each query attends to; a query without any has context 0.
        positions: int (B or 1, T), positions of the queries, if the score reads positions.
        dropout: dropout of the attention weights, or `None`.
    """

    mask: AttentionMask = AttentionMask()
    positions: Tensor | None = None
    dropout: SeededDropout | None = None


def explicit_attention(
    score: Callable[..., Tensor], query: Tensor, memory: Memory, options: AttentionOptions
) -> tuple[Tensor, Tensor]:
    """Computes context and weights of all pairs of a query and a key.

    `ops.fused.FusedAttention` computes the same context without the weights; see there for the
    arguments.

    Returns:
        `(context, weights)`: (B, T, D) and (B, T, S), or (B, H, T, D) and (B, H, T, S). The weights
        are those before dropout.
    """
    keys, values = memory.keys, memory.values
    positions = None if options.positions is None else (options.positions, memory.positions)
    scores = score(query, keys, positions)
    dense = options.mask.dense(ops.shape(query)[-2], ops.shape(keys)[-2])
    if dense is not None and len(scores.shape) == 4:
        dense = ops.expand_dims(dense, 1)  # (B or 1, 1, 1 or T, S)
    weights = ops.cast(masked_softmax(scores, dense), values.dtype)
    dropped = weights if options.dropout is None else options.dropout.apply(weights)
    return context(dropped, values), weights


def predicted_centers(query: Tensor, v: Tensor, lengths: Tensor) -> Tensor:
    """Predicts the window centers of local-p attention, `p_t = S sigmoid(v_p . tanh(W_p h_t))`.

    Luong et al. 2015, equation 9.

    Args:
        query: `W_p h_t`, (B, T, U).
        v: `v_p`, (U,).
        lengths: S, the number of keys that are not masked, (B,) or (1,).

    Returns:
        Tensor (B, T, 1) in float32 or float64, between 0 and S.

    Example:

    >>> from keras import ops
    >>> query, v = ops.zeros((1, 1, 2)), ops.ones(2)
    >>> ops.convert_to_numpy(predicted_centers(query, v, ops.array([6]))).tolist()
    [[[3.0]]]
    """
    logits = ops.sum(ops.tanh(query) * v, axis=-1, keepdims=True)  # (B, T, 1)
    logits = at_least_float32(logits)
    lengths = ops.reshape(ops.cast(lengths, logits.dtype), (-1, 1, 1))
    return lengths * ops.sigmoid(logits)


def gaussian_window(key_positions: Tensor, centers: Tensor, width: float) -> Tensor:
    """Computes the factor by which local-p attention favors keys near the center of the window.

    `exp(-(s - p_t)^2 / (2 sigma^2))` with `sigma = D / 2` (Luong et al. 2015, equation 10). The
    weights are multiplied by it and not normalized again.

    Args:
        key_positions: `s`, (B, 1, S) or (1, 1, S).
        centers: `p_t`, (B, T, 1).
        width: D.

    Returns:
        Tensor (B, T, S) in float32 or float64.

    Example:

    >>> from keras import ops
    >>> factor = gaussian_window(ops.array([[[2]]]), ops.array([[[2.0]]]), width=2)
    >>> ops.convert_to_numpy(factor).tolist()
    [[[1.0]]]
    """
    centers = at_least_float32(centers)
    distance = ops.cast(key_positions, centers.dtype) - centers  # (B, T, S)
    return ops.exp(-2.0 * ops.square(distance / float(width)))
