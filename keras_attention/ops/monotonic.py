"""Monotonic attention (Raffel et al. 2017): the query moves along the keys and never back.

At each step the query stands where it attended last and decides for one key after the other, with
probability `p`, whether to stop there. Shapes: `choose` is `p`, (B, T, S); `previous` is the
attention of the step before, (B, T, S), for each of T queries that do not depend on each other.
"""

from typing import Any

import keras
from keras import ops

# 1 - p is 0 or at least 6e-8 in float32; its logarithm and the gradient of that must be finite.
SMALLEST = 1e-20


def parallel(choose: Any, previous: Any):
    """The expected attention in linear time (Raffel 2017, appendix C.1).

    `a_i = p_i * cumprod(1 - p_i) * cumsum(a_(i-1) / cumprod(1 - p_i))`, the products exclusive. The
    divisor is clipped at 1e-10 as in tfa.seq2seq: attention that has moved past that many likely
    stops is lost. `recursive` has no such limit.

    Args:
        choose: (B, T, S), between 0 and 1.
        previous: (B, T, S).

    Returns:
        Attention (B, T, S) in the dtype of `choose`; a row sums to at most 1.

    Example:

    >>> from keras import ops
    >>> choose, previous = ops.array([[[0.5, 0.5, 1.0]]]), ops.array([[[1.0, 0.0, 0.0]]])
    >>> ops.convert_to_numpy(parallel(choose, previous)).round(4).tolist()
    [[[0.5, 0.25, 0.25]]]
    """
    p, previous, dtype = _in_float32(choose, previous)
    passed = ops.exp(_sum_before(_log_of_passing(p)))  # (B, T, S), prod of 1 - p before s
    arrived = ops.cumsum(previous / ops.clip(passed, 1e-10, 1.0), axis=-1)
    return ops.cast(p * passed * arrived, dtype)


def recursive(choose: Any, previous: Any):
    """The expected attention from its definition, exactly (Raffel 2017, equations 9 to 14).

    `a_ij = p_ij * q_ij` with `q_ij = (1 - p_i(j-1)) * q_i(j-1) + a_(i-1)j`, written out as
    `q_ij = sum_(k <= j) a_(i-1)k * prod_(k <= l < j) (1 - p_il)`: no loop, S^2 products a query.

    Args:
        choose: (B, T, S), between 0 and 1.
        previous: (B, T, S).

    Returns:
        Attention (B, T, S) in the dtype of `choose`; a row sums to at most 1.

    Example:

    >>> from keras import ops
    >>> choose, previous = ops.array([[[0.5, 0.5, 1.0]]]), ops.array([[[0.0, 1.0, 0.0]]])
    >>> ops.convert_to_numpy(recursive(choose, previous)).round(4).tolist()
    [[[0.0, 0.5, 0.5]]]
    """
    p, previous, dtype = _in_float32(choose, previous)
    s = ops.arange(ops.shape(p)[-1], dtype="int32")
    onward = ops.greater_equal(ops.reshape(s, (1, 1, 1, -1)), ops.reshape(s, (1, 1, -1, 1)))
    logs = ops.where(onward, ops.expand_dims(_log_of_passing(p), 2), 0.0)  # (B, T, from S, S)
    reach = ops.where(onward, ops.exp(_sum_before(logs)), 0.0)  # (B, T, from S, to S)
    arrived = ops.squeeze(ops.matmul(ops.expand_dims(previous, 2), reach), 2)  # q, (B, T, S)
    return ops.cast(p * arrived, dtype)


def hard(choose: Any, previous: Any):
    """The decoding form: stop at the first chosen key from the last one on (algorithm 1).

    Where nothing is chosen up to the end the attention is zero, and stays so in later steps.

    Args:
        choose: (B, T, S) of 0 and 1.
        previous: (B, T, S), one-hot or zeros.

    Returns:
        Attention (B, T, S) in the dtype of `choose`, one-hot or zeros.

    Example:

    >>> from keras import ops
    >>> choose, previous = ops.array([[[1.0, 0.0, 1.0, 1.0]]]), ops.array([[[0.0, 1.0, 0.0, 0.0]]])
    >>> ops.convert_to_numpy(hard(choose, previous)).tolist()
    [[[0.0, 0.0, 1.0, 0.0]]]
    """
    p, previous, dtype = _in_float32(choose, previous)
    reachable = p * ops.cumsum(previous, axis=-1)
    return ops.cast(ops.where(_sum_before(reachable) > 0, 0.0, reachable), dtype)


MODES = {"parallel": parallel, "recursive": recursive, "hard": hard}


def _in_float32(choose, previous):
    dtype = keras.backend.standardize_dtype(choose.dtype)
    wide = keras.backend.result_type(dtype, "float32")
    return ops.cast(choose, wide), ops.cast(previous, wide), dtype


def _log_of_passing(p):
    return ops.log(ops.clip(1.0 - p, SMALLEST, 1.0))


def _sum_before(x):
    """The sum of what stands before each item of the last axis."""
    before = ops.pad(x[..., :-1], [[0, 0]] * (len(x.shape) - 1) + [[1, 0]])
    return ops.cumsum(before, axis=-1)
