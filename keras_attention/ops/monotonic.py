"""Monotonic attention (Raffel et al. 2017): each query attends at or after the previous one's key.

Starting from the key attended at the previous step, a query visits the keys in order and stops at
key j with probability `p_ij`. Shapes: `p_choose` is `p`, (B, T, S); `previous` holds the weights of
the previous step, (B, T, S), one row for each of T queries that do not depend on each other.
"""

from keras import ops

from keras_attention.ops.dtypes import at_least_float32
from keras_attention.types import Tensor

# 1 - p is 0 or at least 6e-8 in float32; its logarithm and that gradient must be finite.
EPSILON = 1e-20


def parallel(p_choose: Tensor, previous: Tensor) -> Tensor:
    """Computes the expected attention in linear time (Raffel et al. 2017, appendix C.1).

    `a_i = p_i * cumprod(1 - p_i) * cumsum(a_(i-1) / cumprod(1 - p_i))`, with exclusive products.
    As in tfa.seq2seq the divisor is clipped at 1e-10, which loses attention that has passed too
    many likely stops. `recursive` has no such limit.

    Args:
        p_choose: (B, T, S), between 0 and 1.
        previous: (B, T, S).

    Returns:
        Weights (B, T, S) in the dtype of `p_choose`; a row sums to at most 1.

    Example:

    >>> from keras import ops
    >>> p_choose, previous = ops.array([[[0.5, 0.5, 1.0]]]), ops.array([[[1.0, 0.0, 0.0]]])
    >>> ops.convert_to_numpy(parallel(p_choose, previous)).round(4).tolist()
    [[[0.5, 0.25, 0.25]]]
    """
    p, previous = at_least_float32(p_choose), at_least_float32(previous)
    p_pass = ops.exp(_exclusive_cumsum(_log_pass(p)))  # (B, T, S), product of 1 - p before s
    p_reach = ops.cumsum(previous / ops.clip(p_pass, 1e-10, 1.0), axis=-1)
    return ops.cast(p * p_pass * p_reach, p_choose.dtype)


def recursive(p_choose: Tensor, previous: Tensor) -> Tensor:
    """Computes the expected attention exactly (Raffel et al. 2017, equations 9 to 14).

    `a_ij = p_ij * q_ij` with `q_ij = (1 - p_i(j-1)) * q_i(j-1) + a_(i-1)j`, expanded to
    `q_ij = sum_(k <= j) a_(i-1)k * prod_(k <= l < j) (1 - p_il)`: no loop, and S^2 products per
    query.

    Args:
        p_choose: (B, T, S), between 0 and 1.
        previous: (B, T, S).

    Returns:
        Weights (B, T, S) in the dtype of `p_choose`; a row sums to at most 1.

    Example:

    >>> from keras import ops
    >>> p_choose, previous = ops.array([[[0.5, 0.5, 1.0]]]), ops.array([[[0.0, 1.0, 0.0]]])
    >>> ops.convert_to_numpy(recursive(p_choose, previous)).round(4).tolist()
    [[[0.0, 0.5, 0.5]]]
    """
    p, previous = at_least_float32(p_choose), at_least_float32(previous)
    s = ops.arange(ops.shape(p)[-1], dtype="int32")
    forward = ops.greater_equal(ops.reshape(s, (1, 1, 1, -1)), ops.reshape(s, (1, 1, -1, 1)))
    logs = ops.where(forward, ops.expand_dims(_log_pass(p), 2), 0.0)  # (B, T, from S, S)
    p_pass = ops.where(forward, ops.exp(_exclusive_cumsum(logs)), 0.0)  # (B, T, from S, to S)
    q = ops.squeeze(ops.matmul(ops.expand_dims(previous, 2), p_pass), 2)  # (B, T, S)
    return ops.cast(p * q, p_choose.dtype)


def hard(p_choose: Tensor, previous: Tensor) -> Tensor:
    """Stops at the first chosen key at or after the previous one, for decoding (algorithm 1).

    If no key is chosen up to the end, the weights are 0, and stay 0 in later steps.

    Args:
        p_choose: (B, T, S), 0 or 1.
        previous: (B, T, S), one-hot or zeros.

    Returns:
        Weights (B, T, S) in the dtype of `p_choose`, one-hot or zeros.

    Example:

    >>> from keras import ops
    >>> p_choose = ops.array([[[1.0, 0.0, 1.0, 1.0]]])
    >>> previous = ops.array([[[0.0, 1.0, 0.0, 0.0]]])
    >>> ops.convert_to_numpy(hard(p_choose, previous)).tolist()
    [[[0.0, 0.0, 1.0, 0.0]]]
    """
    p, previous = at_least_float32(p_choose), at_least_float32(previous)
    reachable = p * ops.cumsum(previous, axis=-1)
    weights = ops.where(_exclusive_cumsum(reachable) > 0, 0.0, reachable)
    return ops.cast(weights, p_choose.dtype)


MODES = {"parallel": parallel, "recursive": recursive, "hard": hard}


def _log_pass(p):
    """Returns the logarithm of `1 - p`, the probability of passing a key."""
    return ops.log(ops.clip(1.0 - p, EPSILON, 1.0))


def _exclusive_cumsum(x):
    """Returns the sum of the items before each item of the last axis."""
    shifted = ops.pad(x[..., :-1], [[0, 0]] * (len(x.shape) - 1) + [[1, 0]])
    return ops.cumsum(shifted, axis=-1)
