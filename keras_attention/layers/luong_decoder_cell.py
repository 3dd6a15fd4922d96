"""Luong's decoder step: run the RNN cell, then attend with its output."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.base_attention import BaseAttention
from keras_attention.layers.build import build_if_needed
from keras_attention.layers.linear import Linear
from keras_attention.layers.recurrent_decoder_cell import RecurrentDecoderCell, check_attention
from keras_attention.layers.rnn_cells import output_size
from keras_attention.ops.loop import scan


@keras.saving.register_keras_serializable(package="keras_attention")
class LuongDecoderCell(RecurrentDecoderCell):
    """One step of Luong's decoder (Luong et al. 2015, section 3).

    The RNN cell's output is the query. Output and context are combined:

        h_t = f(h_(t-1), y_(t-1))
        c_t = sum_s a_t(s) h_s,  a_t(s) = softmax(score(h_t, h_s))      equation 7
        output_t = tanh(W_c [c_t; h_t])                                 equation 5

    It is not a Keras RNN cell: see `RecurrentDecoderCell`.

    Without `input_feeding`, no step depends on the context of another, so `call_sequence` runs the
    RNN over all steps and then attends once with all of its outputs.

    Args:
        cell: Keras RNN cell, or `keras.layers.StackedRNNCells`, without dropout of its own.
        attention: any attention layer of this library; the paper's is `LuongAttention`.
        combine: `"concat"`, the equation above, or `"add"`, the sum of output and context.
        units: width of the output with `"concat"`; None takes the width of the RNN cell's output.
        input_feeding: whether the output is part of the next step's input (section 3.3).
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs, state, memory, position, return_weights: see `RecurrentDecoderCell`.

    Returns:
        `(output, state, weights)`, as `RecurrentDecoderCell` returns.

    Raises:
        ValueError: If `combine` is unknown, `cell` is not an RNN cell or has dropout, `attention`
            is not an attention layer or has noise that input feeding rules out, or, when built,
            `"add"` cannot add memory and cell output because their widths differ.

    References:
        Luong et al. 2015, [Effective Approaches to Attention-based Neural Machine
        Translation](https://arxiv.org/abs/1508.04025).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import LuongAttention
    >>> cell = LuongDecoderCell(keras.layers.GRUCell(4), LuongAttention("general"), units=8)
    >>> cell.build((2, 1, 3), memory_width=6)
    >>> memory = cell.memory(np.ones((2, 5, 6), "float32"))
    >>> state = cell.initial_state([np.zeros((2, 1, 4), "float32")], memory)
    >>> inputs = np.ones((2, 1, 3), "float32")
    >>> output, state, weights = cell(inputs, state, memory, return_weights=True)
    >>> tuple(output.shape), tuple(weights.shape)
    ((2, 1, 8), (2, 1, 5))
    """

    deep_output = False  # equation 6: the logits are a projection of the output

    def __init__(
        self,
        cell: keras.layers.Layer,
        attention: BaseAttention,
        combine: str = "concat",
        units: int | None = None,
        input_feeding: bool = False,
        **kwargs: Any,
    ):
        super().__init__(cell, **kwargs)
        if combine not in ("concat", "add"):
            raise ValueError(f"`combine` must be 'concat' or 'add'. Received: combine={combine!r}")
        check_attention(attention, steps=input_feeding)
        self.attention = attention
        self.combine = combine
        self.units = units
        self.input_feeding = input_feeding
        self.parallel = not input_feeding
        if combine == "concat":
            self.combine_dense = Linear(  # W_c
                units or output_size(cell),
                activation="tanh",
                use_bias=False,
                name="combine",
                dtype=self.dtype_policy,
            )

    def build(self, inputs_shape, memory_width: int):
        batch, beams, width = inputs_shape
        cell_width = output_size(self.cell)
        query_shape = (batch, beams, cell_width)
        build_if_needed(self.attention, query_shape, (batch, None, memory_width))
        if self.combine == "concat":
            self.combine_dense.build((batch, beams, memory_width + cell_width))
        elif memory_width != cell_width:
            raise ValueError(
                "`combine='add'` requires a memory as wide as the cell's output. "
                f"Received: memory_width={memory_width}, output width {cell_width}"
            )
        self.output_size = (self.units or cell_width) if self.combine == "concat" else cell_width
        build_if_needed(
            self.cell, (None, width + self.output_size if self.input_feeding else width)
        )
        self.built = True

    def initial_state(self, cell_states, memory):
        state = super().initial_state(cell_states, memory)
        if self.input_feeding:
            h = cell_states[0]
            batch, beams = ops.shape(h)[:2]
            state["previous_output"] = ops.zeros((batch, beams, self.output_size), h.dtype)
        return state

    def call(self, inputs, state, memory, position=0, return_weights=False):
        if self.input_feeding:
            inputs = ops.concatenate([inputs, state["previous_output"]], axis=-1)  # section 3.3
        h, cell_state = self.run_cell(inputs, state["cell"])  # h_t: (B, K, U)
        context, weights, state = self.attend(  # c_t, equation 7: (B, K, D)
            h, state, memory, position, return_weights
        )
        output = self._combine(context, h)  # (B, K, output_size)
        state = {**state, "cell": cell_state}
        if self.input_feeding:
            state["previous_output"] = output
        return output, state, weights

    def call_sequence(self, inputs, state, memory, return_weights=False, training=False):
        if not self.parallel:
            return super().call_sequence(inputs, state, memory, return_weights, training)

        def step(cell_states, x):
            h, cell_states = self.run_cell(ops.expand_dims(x, 1), cell_states)
            return cell_states, h

        step_output = ops.zeros(
            (ops.shape(inputs)[0], 1, output_size(self.cell)), self.compute_dtype
        )
        _, h = scan(step, state["cell"], inputs, step_output, training=training)  # (B, T, 1, U)
        # An index, since LiteRT's converter refuses to squeeze what a loop returns.
        h = h[:, :, 0]
        assert self.attention is not None
        context, weights, _ = self.attention.attend_sequence(
            h, memory, return_weights=return_weights, training=training
        )
        return self._combine(context, h), weights

    def _combine(self, context, h):
        if self.combine == "add":
            return h + context
        return self.combine_dense(ops.concatenate([context, h], axis=-1))  # equation 5

    def get_config(self):
        return {
            **super().get_config(),
            "attention": keras.saving.serialize_keras_object(self.attention),
            "combine": self.combine,
            "units": self.units,
            "input_feeding": self.input_feeding,
        }
