"""Bahdanau's decoder step: attend with the previous state, then run the RNN cell."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.base_attention import BaseAttention
from keras_attention.layers.build import build_if_needed
from keras_attention.layers.linear import Linear
from keras_attention.layers.recurrent_decoder_cell import RecurrentDecoderCell, check_attention
from keras_attention.layers.rnn_cells import hidden_state, output_size


@keras.saving.register_keras_serializable(package="keras_attention")
class BahdanauDecoderCell(RecurrentDecoderCell):
    """One step of Bahdanau's decoder (Bahdanau et al. 2015, section 3.1).

    The previous state is the query. The context is part of the RNN cell's input, and of the output:

        c_i = sum_j a_ij h_j,  a_ij = softmax(score(s_(i-1), h_j))      equations 5 and 6
        s_i = f(s_(i-1), [y_(i-1); c_i])
        output_i = [s_i; c_i]                                           read by g of equation 4

    It is not a Keras RNN cell: see `RecurrentDecoderCell`.

    Args:
        cell: Keras RNN cell, or `keras.layers.StackedRNNCells`, without dropout of its own; the
            hidden state of its top layer is the query.
        attention: any attention layer of this library; the paper's is `BahdanauAttention`.
        gate: whether to multiply the context by a scalar gate computed from the previous state,
            `beta_i = sigmoid(w . s_(i-1) + b)` (Xu et al. 2015, section 4.2.1).
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs, state, memory, position, return_weights: see `RecurrentDecoderCell`.

    Returns:
        `(output, state, weights)`, as `RecurrentDecoderCell` returns; `output_size` is the sum of
        the RNN cell's and the memory's widths.

    Raises:
        ValueError: If `cell` is not an RNN cell or has dropout, or `attention` is not an attention
            layer or has noise.

    References:
        Bahdanau et al. 2015, [Neural Machine Translation by Jointly Learning to Align and
        Translate](https://arxiv.org/abs/1409.0473); Xu et al. 2015, [Show, Attend and
        Tell](https://arxiv.org/abs/1502.03044).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import BahdanauAttention
    >>> cell = BahdanauDecoderCell(keras.layers.GRUCell(4), BahdanauAttention(4))
    >>> cell.build((2, 1, 3), memory_width=6)
    >>> memory = cell.memory(np.ones((2, 5, 6), "float32"))
    >>> state = cell.initial_state([np.zeros((2, 1, 4), "float32")], memory)
    >>> inputs = np.ones((2, 1, 3), "float32")
    >>> output, state, weights = cell(inputs, state, memory, return_weights=True)
    >>> tuple(output.shape), tuple(weights.shape)
    ((2, 1, 10), (2, 1, 5))
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        attention: BaseAttention,
        gate: bool = False,
        **kwargs: Any,
    ):
        super().__init__(cell, **kwargs)
        check_attention(attention, steps=True)
        self.attention = attention
        self.gate = None
        if gate:
            self.gate = Linear(1, activation="sigmoid", name="gate", dtype=self.dtype_policy)

    def build(self, inputs_shape, memory_width: int):
        batch, beams, width = inputs_shape
        query_shape = (batch, beams, output_size(self.cell))
        build_if_needed(self.attention, query_shape, (batch, None, memory_width))
        if self.gate is not None:
            self.gate.build(query_shape)
        build_if_needed(self.cell, (None, width + memory_width))
        self.output_size = output_size(self.cell) + memory_width
        self.built = True

    def call(self, inputs, state, memory, position=0, return_weights=False):
        query = hidden_state(self.cell, state["cell"])  # s_(i-1): (B, K, U)
        context, weights, state = self.attend(  # c_i, equations 5 and 6: (B, K, D)
            query, state, memory, position, return_weights
        )
        if self.gate is not None:
            context = self.gate(query) * context  # beta_i c_i, Xu et al. 2015, section 4.2.1
        inputs = ops.concatenate([inputs, context], axis=-1)  # [y_(i-1); c_i]: (B, K, E + D)
        output, cell_state = self.run_cell(inputs, state["cell"])  # s_i = f(s_(i-1), ...)
        output = ops.concatenate([output, context], axis=-1)  # [s_i; c_i]: (B, K, U + D)
        return output, {**state, "cell": cell_state}, weights

    def get_config(self):
        return {
            **super().get_config(),
            "attention": keras.saving.serialize_keras_object(self.attention),
            "gate": self.gate is not None,
        }
