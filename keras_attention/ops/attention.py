"""From scores to weights to context: one numeric meaning for every kind of attention."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_attention.ops import masks
from keras_attention.ops.linear import project
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
        state: what each query hands to the next one, (B, T, S); `None` for attention without
            state.
    """

    context: Tensor
    weights: Tensor | None = None
    state: Tensor | None = None


def masked_softmax(energies: Any, mask: Any = None):
    """Softmax over the keys that are kept: the weights of `e_ij` in Bahdanau 2015, equation 6.

    It is computed in float32 at least and cast back. A row that keeps nothing has weights 0 and
    passes no gradient.

    Args:
        energies: (B, T, S).
        mask: Bool, broadcasts with (B, T, S); `None` keeps all.

    Returns:
        Weights (B, T, S), in the dtype of `energies`.

    Example:

    >>> from keras import ops
    >>> energies = ops.array([[[1.0, 1.0, 5.0], [1.0, 1.0, 5.0]]], "float32")
    >>> mask = ops.array([[[True, True, False], [False, False, False]]])
    >>> ops.convert_to_numpy(masked_softmax(energies, mask)).tolist()
    [[[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]]
    """
    energies = ops.convert_to_tensor(energies)
    dtype = keras.backend.standardize_dtype(energies.dtype)
    energies = ops.cast(energies, keras.backend.result_type(dtype, "float32"))
    if mask is None:
        return ops.cast(ops.softmax(energies, axis=-1), dtype)
    mask = ops.cast(mask, "bool")
    weights = ops.softmax(ops.where(mask, energies, masks.mask_value()), axis=-1)
    return ops.cast(ops.where(mask, weights, 0.0), dtype)


def context(weights: Any, values: Any):
    """The weighted sum of the values, `c_i = sum_j a_ij h_j` (Bahdanau 2015, equation 5).

    Args:
        weights: (B, T, S).
        values: (B, S, D).

    Returns:
        (B, T, D).

    Example:

    >>> from keras import ops
    >>> weights, values = ops.array([[[0.5, 0.5]]]), ops.array([[[2.0], [4.0]]])
    >>> ops.convert_to_numpy(context(weights, values)).tolist()
    [[[3.0]]]
    """
    return ops.matmul(weights, values)


def predicted_centers(query: Any, kernel: Any, v: Any, lengths: Any):
    """Where local-p attention looks: `p_t = S sigmoid(v_p . tanh(W_p h_t))` (Luong 2015, eq. 9).

    Args:
        query: `h_t`, (B, T, Q).
        kernel: `W_p` transposed, (Q, U).
        v: `v_p`, (U,).
        lengths: S, the number of keys that are kept, (B,) or (1,).

    Returns:
        float32 tensor (B, T, 1), between 0 and S.

    Example:

    >>> from keras import ops
    >>> query, kernel, v = ops.ones((1, 1, 2)), ops.zeros((2, 2)), ops.ones(2)
    >>> ops.convert_to_numpy(predicted_centers(query, kernel, v, ops.array([6]))).tolist()
    [[[3.0]]]
    """
    logits = ops.sum(ops.tanh(project(query, kernel)) * v, axis=-1, keepdims=True)  # (B, T, 1)
    lengths = ops.reshape(ops.cast(lengths, "float32"), (-1, 1, 1))
    return lengths * ops.sigmoid(ops.cast(logits, "float32"))


def gaussian_window(places: Any, centers: Any, width: float):
    """How local-p attention favors its center: `exp(-(s - p_t)^2 / (2 sigma^2))`, `sigma = D / 2`.

    Luong 2015, equation 10. The weights are multiplied by it and not normalized again.

    Args:
        places: `s`, positions of the keys, (B, 1, S) or (1, 1, S).
        centers: `p_t`, (B, T, 1).
        width: D.

    Returns:
        float32 tensor (B, T, S).

    Example:

    >>> from keras import ops
    >>> factor = gaussian_window(ops.array([[[2]]]), ops.array([[[2.0]]]), width=2)
    >>> ops.convert_to_numpy(factor).tolist()
    [[[1.0]]]
    """
    distance = ops.cast(places, "float32") - ops.cast(centers, "float32")  # (B, T, S)
    return ops.exp(-2.0 * ops.square(distance / float(width)))
