"""Matrix products over sequences and heads."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
from keras import ops

from keras_attention.types import Tensor

_weights_last: ContextVar[bool] = ContextVar("weights_last", default=False)


@contextmanager
def weights_last_scope() -> Iterator[None]:
    """Makes weights the second operand of each product in graphs traced inside the scope.

    Runtimes that rearrange weights while they load a file, and tools that quantize them, expect
    them there.

    Example:

    >>> import numpy as np
    >>> with weights_last_scope():
    ...     tuple(project_transposed(np.ones((2, 3, 4)), np.ones((5, 4))).shape)
    (2, 3, 5)
    """
    token = _weights_last.set(True)
    try:
        yield
    finally:
        _weights_last.reset(token)


def project(x: Tensor, kernel: Tensor) -> Tensor:
    """Multiplies every position of a sequence by a matrix, `x W`.

    Args:
        x: (B, T, Q).
        kernel: (Q, U).

    Returns:
        (B, T, U).

    Example:

    >>> import numpy as np
    >>> tuple(project(np.ones((2, 3, 4)), np.ones((4, 5))).shape)
    (2, 3, 5)
    """
    # Batch and time are merged into one axis. On TensorFlow the gradient of an einsum is one
    # product per row of the batch and their sum, and XLA refuses the gradient of a Tensordot in a
    # loop with a dynamic batch size.
    batch, length, width = ops.shape(x)
    y = ops.matmul(ops.reshape(x, (-1, width)), kernel)  # (B * T, U)
    return ops.reshape(y, (batch, length, kernel.shape[-1]))


def project_transposed(x: Tensor, weights: Tensor) -> Tensor:
    """Multiplies every position of a sequence by the transpose of a matrix, `x W^T`.

    Args:
        x: (B, T, Q).
        weights: (U, Q).

    Returns:
        (B, T, U).

    Example:

    >>> import numpy as np
    >>> tuple(project_transposed(np.ones((2, 3, 4)), np.ones((5, 4))).shape)
    (2, 3, 5)
    """
    batch, length, width = ops.shape(x)
    x = ops.reshape(x, (-1, width))  # (B * T, Q)
    if keras.backend.backend() == "tensorflow" and not _weights_last.get():
        # As W x^T: for x W^T and a few rows, TensorFlow's kernel for CPUs without oneDNN rearranges
        # W, which takes many times as long as the product. TFLite's converter undoes this.
        y = ops.transpose(ops.matmul(weights, ops.transpose(x)))  # (B * T, U)
    else:
        y = ops.matmul(x, ops.transpose(weights))  # (B * T, U)
    return ops.reshape(y, (batch, length, weights.shape[0]))


def grouped_matmul(x: Tensor, y: Tensor) -> Tensor:
    """Multiplies the matrices of two batches; with heads, a group of `x` shares one head of `y`.

    Head h of `x` is multiplied by head `h // (H / G)` of `y` (grouped queries, Ainslie et al.
    2023). The rows of a group are concatenated into one product, so `y` is not repeated.

    Args:
        x: (B, T, M) or (B, H, T, M).
        y: (B, M, N) or (B, G, M, N), where G divides H.

    Returns:
        (B, T, N) or (B, H, T, N).

    Example:

    >>> import numpy as np
    >>> tuple(grouped_matmul(np.ones((2, 4, 3, 8)), np.ones((2, 2, 8, 5))).shape)
    (2, 4, 3, 5)
    """
    if len(x.shape) == 3 or x.shape[1] == y.shape[1]:
        return ops.matmul(x, y)
    batch, heads, length, width = ops.shape(x)
    groups = y.shape[1]
    x = ops.reshape(x, (batch, groups, heads // groups * length, width))  # (B, G, H / G * T, M)
    return ops.reshape(ops.matmul(x, y), (batch, heads, length, ops.shape(y)[-1]))


def grouped_outer(x: Tensor, y: Tensor, groups: int | None = None) -> Tensor:
    """Sums the outer products of the rows of two batches, `x^T y`, and those of a group of heads.

    It is the gradient of `grouped_matmul` with respect to its second argument.

    Args:
        x: (B, T, M) or (B, H, T, M).
        y: (B, T, N) or (B, H, T, N).
        groups: number of heads G of the result, a divisor of H.

    Returns:
        (B, M, N) or (B, G, M, N).

    Example:

    >>> import numpy as np
    >>> tuple(grouped_outer(np.ones((2, 4, 3, 8)), np.ones((2, 4, 3, 5)), groups=2).shape)
    (2, 2, 8, 5)
    """
    if len(x.shape) == 4 and x.shape[1] != groups:
        batch, heads, length, _ = ops.shape(x)
        rows = heads // groups * length
        x = ops.reshape(x, (batch, groups, rows, ops.shape(x)[-1]))
        y = ops.reshape(y, (batch, groups, rows, ops.shape(y)[-1]))
    rank = len(x.shape)
    return ops.matmul(ops.transpose(x, (*range(rank - 2), rank - 1, rank - 2)), y)
