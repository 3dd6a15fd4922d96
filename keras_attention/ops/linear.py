"""The linear map of a sequence."""

from typing import Any

from keras import ops

# TensorFlow makes a matmul of these ranks a Tensordot, whose gradient XLA refuses in a loop at a
# free batch size; an einsum it takes.
PROJECT = "btq,qu->btu"


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
    return ops.einsum(PROJECT, x, kernel)
