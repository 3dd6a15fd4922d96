"""The linear map of a sequence."""

from typing import Any

from keras import ops


def project(x: Any, kernel: Any):
    """`x W` at every position.

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
    # Batch and time are one axis inside: on TensorFlow the gradient of an einsum is a product for
    # each row of the batch, and their sum; that of a Tensordot XLA refuses in a loop at a free
    # batch size.
    batch, length, width = ops.shape(x)
    y = ops.matmul(ops.reshape(x, (-1, width)), kernel)  # (B * T, U)
    return ops.reshape(y, (batch, length, kernel.shape[-1]))
