"""Bahdanau's decoder step with hard attention: the context is one value, not an average."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.bahdanau_decoder_cell import BahdanauDecoderCell
from keras_attention.types import Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class HardAttentionCell(BahdanauDecoderCell):
    """`BahdanauDecoderCell` whose context is the value at a single location.

    In inference it is the location of the highest attention weight; in training the location is
    sampled with the attention weights as probabilities (Xu et al. 2015, section 4.1, equations 8
    and 9). It is sampled where `state["noise"]` is Gumbel noise `(batch, 1, time, source)`: the
    location of the highest sum of noise and log weight is a sample (Maddison et al. 2014). No
    gradient flows through the selection; `decoders.HardAttentionDecoder` trains the weights.

    The constructor has the arguments of `BahdanauDecoderCell`.

    Call arguments:
        inputs, state, memory, position, return_weights: see `RecurrentDecoderCell`.

    Returns:
        `(output, state, weights)`, as `BahdanauDecoderCell` returns.

    References:
        Xu et al. 2015, [Show, Attend and Tell](https://arxiv.org/abs/1502.03044); Maddison et al.
        2014, [A* Sampling](https://arxiv.org/abs/1411.0030).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import BahdanauAttention
    >>> cell = HardAttentionCell(keras.layers.GRUCell(4), BahdanauAttention(4))
    >>> cell.build((1, 1, 3), memory_width=2)
    >>> values = np.array([[[1.0, 2.0], [3.0, 4.0]]], "float32")
    >>> memory = cell.memory(values)
    >>> state = cell.initial_state([np.zeros((1, 1, 4), "float32")], memory)
    >>> inputs = np.ones((1, 1, 3), "float32")
    >>> output, _, weights = cell(inputs, state, memory, return_weights=True)
    >>> location = int(keras.ops.argmax(weights))
    >>> [round(float(x), 2) for x in output[0, 0, 4:]] == values[0, location].tolist()
    True
    """

    def __init__(self, *args: Any, **kwargs: Any):
        # Noise in half precision would not be the noise from which the decoder computes its loss,
        # nor give samples in proportion to the weights.
        super().__init__(*args, autocast=False, **kwargs)

    def call(self, inputs, state, memory, position=0, return_weights=False):
        inputs = ops.cast(inputs, self.compute_dtype)
        return super().call(inputs, state, memory, position, return_weights)

    def attend(self, query, state, memory, position, return_weights):
        _, weights, state = super().attend(query, state, memory, position, return_weights=True)
        noise = ops.take(state["noise"], position, axis=2) if "noise" in state else None
        selected = select_location(weights, noise)  # s_t: (B, K, S)
        context = ops.matmul(selected, memory.values)  # sum_i s_ti a_i, equation 9: (B, K, D)
        return context, weights if return_weights else None, state


def select_location(weights: Tensor, noise: Tensor | None = None) -> Tensor:
    """Selects one location per row of attention weights, as a one-hot vector.

    Args:
        weights: `(..., source)`.
        noise: Gumbel noise of the same shape, to sample the location in proportion to the weights;
            None selects the highest weight.

    Returns:
        `(..., source)`, in the dtype of `weights`, without a gradient.
    """
    scores = weights if noise is None else log_weights(weights) + noise
    # TFLite's built-in operations have no `ops.argmax`.
    location = ops.squeeze(ops.top_k(scores, 1)[1], -1)  # (...)
    selected = ops.one_hot(location, weights.shape[-1] or ops.shape(weights)[-1], dtype="float32")
    return ops.cast(ops.stop_gradient(selected), weights.dtype)


def log_weights(weights: Tensor) -> Tensor:
    """Returns the logarithm of attention weights in float32; it is finite for a weight of 0."""
    return ops.log(ops.maximum(ops.cast(weights, "float32"), 1e-20))
