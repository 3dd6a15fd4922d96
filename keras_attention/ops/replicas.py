"""Sums over the replicas of `tf.distribute`.

On JAX, arrays are global: a mean is that of all devices without more.
"""

import keras
from keras import ops

from keras_attention.types import Tensor


def num_replicas() -> int:
    """Returns the number of replicas that run the current function at the same time."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_weight(weight: Tensor) -> Tensor | None:
    """Returns the factor that turns the mean of a replica into its part of the mean of all.

    Keras divides the mean of each replica by their number, so that their sum, and that of their
    gradients, is the mean of the whole batch only if all replicas have the same sum of weights.

    Args:
        weight: weights of the mean of this replica, any shape, float32.

    Returns:
        A scalar: this replica's part of all weights, times the number of replicas. `None` if this
        is the only replica.

    Example:

    >>> from keras import ops
    >>> replica_weight(ops.ones((2, 3))) is None
    True
    """
    replicas = num_replicas()
    if replicas == 1:
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None:  # outside `strategy.run`
        return None
    here = ops.sum(weight)
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, here)
    return replicas * ops.divide_no_nan(here, total)
