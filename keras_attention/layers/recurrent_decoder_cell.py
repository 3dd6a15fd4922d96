"""One step of an RNN decoder: the base class of the cells with attention."""

from typing import Any

import keras
from keras import ops, tree

from keras_attention.layers.base_attention import BaseAttention
from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.rnn_cells import (
    check_rnn_cell,
    hidden_state,
    initial_states,
    output_size,
)
from keras_attention.ops.attention import Memory
from keras_attention.ops.loop import scan
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class RecurrentDecoderCell(keras.layers.Layer):
    """One step of an RNN decoder without attention, and the base class of those with attention.

    It is not a Keras RNN cell that `keras.layers.RNN` could run: the encoder's memory is an
    argument of every call, and inputs and states have a beam axis. `decoders.RNNDecoder` runs it.

    To write a cell of your own, subclass it, set `self.attention`, and implement `build`, which
    sets `output_size`, and `call`, with `attend` and `run_cell`.

    Args:
        cell: Keras RNN cell, or `keras.layers.StackedRNNCells`, without dropout of its own.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: `(batch, beams, width)`, the embedded previous tokens.
        state: from `initial_state` or the previous step; every leaf is `(batch, beams, ...)`.
        memory: from the method `memory`; without attention only its length is read.
        position: int scalar, the number of previous steps.
        return_weights: whether to return the attention weights.

    Returns:
        `(output, state, weights)`: the output `(batch, beams, output_size)`, the next state, and
        the attention weights `(batch, beams, source)`, which are zero without attention, or None
        unless `return_weights`.

    Raises:
        ValueError: If `cell` is not an RNN cell, or has dropout.

    References:
        Sutskever et al. 2014, [Sequence to Sequence Learning with Neural
        Networks](https://arxiv.org/abs/1409.3215).

    Example:

    >>> import numpy as np
    >>> cell = RecurrentDecoderCell(keras.layers.GRUCell(4))
    >>> cell.build((2, 1, 3), memory_width=6)
    >>> memory = cell.memory(np.ones((2, 5, 6), "float32"))
    >>> state = cell.initial_state([np.zeros((2, 1, 4), "float32")], memory)
    >>> output, state, _ = cell(np.ones((2, 1, 3), "float32"), state, memory)
    >>> tuple(output.shape)
    (2, 1, 4)
    """

    attention: BaseAttention | None

    # Whether the decoder adds Bahdanau's deep output layer before the logits (appendix A.2.2).
    deep_output = True

    # Whether `call_sequence` attends with all steps at once.
    parallel = False

    def __init__(self, cell: keras.layers.Layer, **kwargs: Any):
        super().__init__(**kwargs)
        check_rnn_cell(cell)
        self.cell = cell
        # Not a class attribute: PyTorch would find it before a layer of the same name.
        self.attention = None

    def build(self, inputs_shape, memory_width: int):
        build_if_needed(self.cell, (None, inputs_shape[-1]))
        self.output_size = output_size(self.cell)
        self.built = True

    def memory(self, values: Tensor, mask: Mask = None) -> Memory:
        """Returns the attention's memory of the encoder's outputs.

        Args:
            values: `(batch, source, width)`.
            mask: bool `(batch, source)`, True means attend.
        """
        if self.attention is None:
            return Memory(values, values, mask)
        return self.attention.memory(values, mask=mask)

    def initial_state(self, cell_states: list[Tensor], memory: Memory) -> dict:
        """Returns the state before the first step.

        Args:
            cell_states: flat list of the RNN cell's states, `(batch, beams, units)` each; for two
                stacked LSTM cells h and c of the first, then h and c of the second.
            memory: from `memory`.

        Returns:
            Dictionary of nested tensors `(batch, beams, ...)`.
        """
        state = {"cell": tree.pack_sequence_as(initial_states(self.cell, 1), cell_states)}
        if self.attention is not None:
            num_beams = ops.shape(hidden_state(self.cell, state["cell"]))[1]
            attention_state = self.attention.initial_state(memory, num_beams)
            if attention_state is not None:
                state["attention"] = attention_state
        return state

    def call(self, inputs, state, memory, position=0, return_weights=False):
        output, cell_state = self.run_cell(inputs, state["cell"])
        weights = None
        if return_weights:
            batch, beams, _ = ops.shape(output)
            weights = ops.zeros((batch, beams, ops.shape(memory.values)[1]), output.dtype)
        return output, {**state, "cell": cell_state}, weights

    def call_sequence(
        self,
        inputs: Tensor,
        state: dict,
        memory: Memory,
        return_weights: bool = False,
        training: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Runs all steps of teacher forcing; gives the same outputs as `call` step by step.

        Args:
            inputs: `(batch, time, width)`.
            state: from `initial_state`, with one beam.
            memory: from `memory`.
            return_weights: whether to return the attention weights.
            training: whether the attention runs in training mode, where it attends with all steps
                at once.

        Returns:
            Outputs `(batch, time, output_size)`, and weights `(batch, time, source)` or None.
        """
        batch, source_length = ops.shape(memory.values)[:2]
        step_outputs = [ops.zeros((batch, 1, self.output_size), self.compute_dtype)]
        if return_weights:
            step_outputs.append(ops.zeros((batch, 1, source_length), self.compute_dtype))

        def step(carry, x):
            position, state = carry
            output, state, weights = self(
                ops.expand_dims(x, 1),
                state,
                memory,
                position=position,
                return_weights=return_weights,
            )
            return (position + 1, state), [output, weights] if return_weights else [output]

        carry = (ops.convert_to_tensor(0, "int32"), state)
        _, sequences = scan(step, carry, inputs, step_outputs, training=training)  # (B, T, 1, ...)
        # An index, since LiteRT's converter refuses to squeeze what a loop returns.
        outputs, weights = [*(x[:, :, 0] for x in sequences), None][:2]
        return outputs, weights

    def attend(
        self, query: Tensor, state: dict, memory: Memory, position: Tensor, return_weights: bool
    ) -> tuple[Tensor, Tensor | None, dict]:
        """Attends with one query per beam.

        Args:
            query: `(batch, beams, units)`.
            state: the cell's state.
            memory: from `memory`.
            position: int scalar, the number of previous steps.
            return_weights: whether to return the attention weights.

        Returns:
            `(context, weights, state)`: the context `(batch, beams, width)`, the weights `(batch,
            beams, source)` or None, and the state with the attention's next state in it.
        """
        assert self.attention is not None
        output = self.attention.attend(
            query,
            memory,
            state=state.get("attention"),
            positions=position,
            return_weights=return_weights,
        )
        if output.state is not None:
            state = {**state, "attention": output.state}
        return output.context, output.weights, state

    def run_cell(self, inputs: Tensor, cell_states: list) -> tuple[Tensor, list]:
        """Runs the RNN cell for one step of every beam.

        Args:
            inputs: `(batch, beams, width)`.
            cell_states: nested tensors `(batch, beams, units)`.

        Returns:
            The output `(batch, beams, units)` and the next states.
        """
        batch, beams, _ = ops.shape(inputs)

        def fold(x):
            return ops.reshape(x, (-1, x.shape[-1]))  # (B * K, width)

        def unfold(x):
            return ops.reshape(x, (batch, beams, x.shape[-1]))

        output, next_states = self.cell(fold(inputs), tree.map_structure(fold, cell_states))
        next_states = [unfold(x) for x in tree.flatten(next_states)]
        return unfold(output), tree.pack_sequence_as(cell_states, next_states)

    def get_config(self):
        return {**super().get_config(), "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        names = [name for name in ("cell", "attention") if name in config]
        return cls(**deserialize_config(config, *names))


def check_attention(attention: Any, steps: bool) -> None:
    """Raises a `ValueError` unless a decoder cell can run the attention.

    Args:
        attention: the attention layer.
        steps: whether the cell attends step by step in training too.
    """
    if not isinstance(attention, BaseAttention):
        raise ValueError(
            "`attention` must be an attention layer; a decoder without attention uses a "
            f"`RecurrentDecoderCell`. Received: attention={attention!r}"
        )
    sigmoid_noise = getattr(attention, "sigmoid_noise", 0)
    if steps and sigmoid_noise:
        raise ValueError(
            "`attention` must have `sigmoid_noise=0`, except in a `LuongDecoderCell` without "
            "`input_feeding`, because the noise is drawn for all steps at once. "
            f"Received: sigmoid_noise={sigmoid_noise}"
        )
