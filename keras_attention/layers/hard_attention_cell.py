"""Attention that looks at one place: a choice where soft attention takes the mean."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.recurrent_decoder_cell import RecurrentDecoderCell


@keras.saving.register_keras_serializable(package="keras_attention")
class HardAttentionCell(RecurrentDecoderCell):
    """`RecurrentDecoderCell` in Bahdanau's order whose context is the value at one place.

    The place is the one with the highest score, or in training a sample of the scores (Xu et al.
    2015, section 4.1, eq. 8 and 9): where `state["noise"]` is Gumbel noise `(batch, 1, time,
    source)`, the highest of log-score and noise (Maddison et al. 2014). No gradient runs through
    the choice; `decoders.HardAttentionDecoder` trains the scores.

    Args:
        cell, attention, gate, ...: as `RecurrentDecoderCell` has them.

    References:
        Xu et al. 2015, [Show, Attend and Tell](https://arxiv.org/abs/1502.03044).

    Example:

    >>> import keras, numpy as np
    >>> from keras_attention.layers import BahdanauAttention
    >>> cell = HardAttentionCell(keras.layers.GRUCell(4), BahdanauAttention(4))
    >>> cell.build((1, 1, 3), memory_width=2)
    >>> values = np.array([[[1.0, 2.0], [3.0, 4.0]]], "float32")
    >>> memory = cell.attention.memory(values)
    >>> state = cell.initial_state([np.zeros((1, 1, 4), "float32")], memory)
    >>> output, _, scores = cell(np.ones((1, 1, 3), "float32"), state, memory)
    >>> best = int(keras.ops.argmax(scores))
    >>> [round(float(x), 2) for x in output[0, 0, 4:]] == values[0, best].tolist()
    True
    """

    def _attend(self, query, memory, position, state):
        _, scores, attention = super()._attend(query, memory, position, state)
        noise = ops.take(state["noise"], position, axis=2) if "noise" in state else None
        context = ops.matmul(choice(scores, noise), memory.values)  # (B, K, D)
        return context, scores, attention


def choice(scores: Any, noise: Any = None):
    """One place of each row of scores (..., S), as one-hot vectors of their dtype.

    Args:
        scores: (..., S), what sums to 1.
        noise: of the same shape, Gumbel noise: the choice is then a sample. `None` takes the
            highest.
    """
    if noise is not None:
        scores = log_scores(scores) + noise
    # Not argmax, which TFLite refuses.
    place = ops.squeeze(ops.top_k(scores, 1)[1], -1)  # (...)
    chosen = ops.one_hot(place, scores.shape[-1] or ops.shape(scores)[-1], dtype="float32")
    return ops.cast(ops.stop_gradient(chosen), scores.dtype)


def log_scores(scores: Any):
    """The logarithm of scores in float32; a score of 0 has a finite one."""
    return ops.log(ops.maximum(ops.cast(scores, "float32"), 1e-20))
