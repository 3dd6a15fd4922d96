"""The cell that puts attention around any Keras RNN cell."""

import keras
from keras import ops, tree

from keras_attention.layers.base_attention import BaseAttention
from keras_attention.layers.build import build_if_needed
from keras_attention.layers.linear import Linear
from keras_attention.layers.rnn_cells import (
    check_rnn_cell,
    hidden_state,
    initial_states,
    output_size,
)
from keras_attention.ops.attention import Memory
from keras_attention.ops.loop import scan


@keras.saving.register_keras_serializable(package="keras_attention")
class RecurrentDecoderCell(keras.layers.Layer):
    """One step of an RNN with attention, for any number of beams at once.

    `order="bahdanau"` (Bahdanau et al. 2015, section 3.1): the previous state asks, and the
    context joins the cell's input. The output is the new state beside the context.

    `order="luong"` (Luong et al. 2015, eq. 5): the cell runs first, its output asks, and the
    context joins the output: `combine="concat"` is `tanh(W [context; output])`, `combine="add"`
    is `output + context`. With `input_feeding` (section 3.3) the joined vector also enters the
    next step's input; without it nothing recurs through the attention, and `sequence` runs the
    RNN over all steps and then one attention over all its outputs.

    Args:
        cell: any Keras RNN cell (`StackedRNNCells` too), without dropout of its own; its top
            layer's state asks.
        attention: a layer of `keras_attention.layers`, or None for a plain RNN (Sutskever et
            al. 2014), whose scores are zeros.
        order: `"bahdanau"` or `"luong"`.
        combine: `"concat"` or `"add"`; Luong's order alone reads it.
        units: width of the joined vector for `"concat"`; None takes the cell's.
        input_feeding: whether the joined vector enters the next step; Luong's order alone.
        gate: whether the state says how much the context counts, `sigmoid(w . h + b)` of it (Xu et
            al. 2015, section 4.2.1, its beta); Bahdanau's order alone.

    Call arguments:
        inputs: `(batch, beams, width)`, one step.
        state: from `initial_state` or the step before; every leaf is `(batch, beams, ...)`.
        memory: the attention's `Memory`.
        position: scalar int, the step's number.

    Returns:
        `(output, state, scores)`: `(batch, beams, output_size)`, the next state, and
        `(batch, beams, source)`.

    Raises:
        ValueError: for an unknown order or combine, a cell with dropout, input feeding in
            Bahdanau's order, a gate in Luong's, noise in a loop over steps, or `combine="add"`
            where the widths of output and memory differ.

    Example:

    >>> import keras, numpy as np
    >>> from keras_attention.layers import RecurrentDecoderCell, BahdanauAttention
    >>> cell = RecurrentDecoderCell(keras.layers.GRUCell(4), BahdanauAttention(4))
    >>> cell.build((2, 1, 3), memory_width=6)
    >>> memory = cell.attention.memory(np.ones((2, 5, 6), "float32"))
    >>> state = cell.initial_state([np.zeros((2, 1, 4), "float32")], memory)
    >>> output, state, scores = cell(np.ones((2, 1, 3), "float32"), state, memory, position=0)
    >>> tuple(output.shape), tuple(scores.shape)
    ((2, 1, 10), (2, 1, 5))
    """

    def __init__(
        self,
        cell,
        attention: BaseAttention | None,
        order: str = "bahdanau",
        combine: str = "concat",
        units: int | None = None,
        input_feeding: bool = False,
        gate: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if order not in ("bahdanau", "luong"):
            raise ValueError(f"order: expected 'bahdanau' or 'luong'. Received: order={order!r}")
        if combine not in ("concat", "add"):
            raise ValueError(f"combine: expected 'concat' or 'add'. Received: combine={combine!r}")
        if input_feeding and (order == "bahdanau" or attention is None):
            raise ValueError(
                "input_feeding: expected False in Bahdanau's order, where the context enters the "
                f"input already, and without attention. Received: order={order!r}, "
                f"attention={attention}, input_feeding={input_feeding}"
            )
        if gate and (order == "luong" or attention is None):
            raise ValueError(
                "gate: expected False in Luong's order and without attention. "
                f"Received: order={order!r}, attention={attention}, gate={gate}"
            )
        noisy = getattr(attention, "sigmoid_noise", 0)
        if noisy and (order == "bahdanau" or input_feeding):
            raise ValueError(
                "attention: expected sigmoid_noise=0 in a loop over steps; noise is drawn for all "
                "steps at once, in Luong's order without input feeding. "
                f"Received: sigmoid_noise={noisy}, order={order!r}, input_feeding={input_feeding}"
            )
        check_rnn_cell(cell)
        self.cell = cell
        self.attention = attention
        self.order = order
        self.combine = combine
        self.units = units
        self.input_feeding = input_feeding
        self.gate = None
        if gate:
            self.gate = Linear(1, activation="sigmoid", name="gate", dtype=self.dtype_policy)
        self.joins = attention is not None and order == "luong"
        if self.joins and combine == "concat":
            units = units or output_size(cell)
            self.join = Linear(
                units, activation="tanh", use_bias=False, name="join", dtype=self.dtype_policy
            )

    @property
    def parallel(self) -> bool:
        """Whether the attention can run after the RNN has run over all steps."""
        return self.attention is None or (self.order == "luong" and not self.input_feeding)

    def build(self, inputs_shape, memory_width: int):
        width, query = inputs_shape[-1], output_size(self.cell)
        self.output_size = query
        if self.attention is not None:
            memory_shape = (inputs_shape[0], None, memory_width)
            build_if_needed(self.attention, (*inputs_shape[:2], query), memory_shape)
        if self.gate is not None:
            self.gate.build((*inputs_shape[:2], query))
        if self.order == "bahdanau" and self.attention is not None:
            width += memory_width
            self.output_size = query + memory_width
        elif self.joins and self.combine == "concat":
            self.join.build((*inputs_shape[:2], memory_width + query))
            self.output_size = self.units or query
        elif self.joins and memory_width != query:
            raise ValueError(
                "combine='add': expected a memory as wide as the cell's output. "
                f"Received: memory width {memory_width}, output width {query}"
            )
        build_if_needed(
            self.cell, (None, width + self.output_size if self.input_feeding else width)
        )
        self.built = True

    def initial_state(self, cell_states: list, memory: Memory) -> dict:
        """The state before the first step.

        Args:
            cell_states: list of tensors `(batch, beams, units)`, the cell's own states, flat: for
                a stack of LSTM cells h and c of the first, h and c of the second.
            memory: what will be attended to.

        Returns:
            Dictionary of nested tensors `(batch, beams, ...)`.
        """
        state = {"cell": tree.pack_sequence_as(initial_states(self.cell, 1), cell_states)}
        top = hidden_state(self.cell, state["cell"])  # (B, K, U)
        batch, beams = ops.shape(top)[:2]
        if self.input_feeding:
            state["joined"] = ops.zeros((batch, beams, self.output_size), top.dtype)
        if self.attention is not None:
            attention = self.attention.initial_state(memory, beams)
            if attention is not None:
                state["attention"] = attention
        return state

    def call(self, inputs, state, memory, position=0):
        if self.attention is None:
            output, cell = self._run_cell(inputs, state["cell"])
            return output, {**state, "cell": cell}, _no_scores(output, memory)
        if self.order == "bahdanau":
            query = hidden_state(self.cell, state["cell"])  # (B, K, U)
            context, scores, attention = self._attend(query, memory, position, state)
            if self.gate is not None:
                context = self.gate(query) * context
            joined = ops.concatenate([inputs, context], axis=-1)  # (B, K, E + D)
            output, cell = self._run_cell(joined, state["cell"])
            output = ops.concatenate([output, context], axis=-1)  # (B, K, U + D)
        else:
            if self.input_feeding:
                inputs = ops.concatenate([inputs, state["joined"]], axis=-1)
            output, cell = self._run_cell(inputs, state["cell"])
            context, scores, attention = self._attend(output, memory, position, state)
            output = self._join(output, context)
        after = {"cell": cell, "joined": output, "attention": attention}
        return output, {name: after.get(name, leaf) for name, leaf in state.items()}, scores

    def sequence(self, inputs, state: dict, memory: Memory, training: bool = False) -> tuple:
        """All steps of teacher forcing at once; the same numbers as stepping.

        Args:
            inputs: `(batch, time, width)`.
            state: from `initial_state`, one beam.
            memory: what is attended to.
            training: whether the attention adds the noise it trains with.

        Returns:
            Outputs `(batch, time, output_size)` and scores `(batch, time, source)`.
        """
        if not self.parallel:
            return self._sequence_by_steps(inputs, state, memory)
        output = ops.zeros((ops.shape(inputs)[0], 1, output_size(self.cell)), self.compute_dtype)

        def step(states, x):
            output, states = self._run_cell(ops.expand_dims(x, 1), states)
            return states, output

        _, outputs = scan(step, state["cell"], inputs, output)
        outputs = ops.squeeze(outputs, 2)  # (B, T, U)
        if self.attention is None:
            return outputs, _no_scores(outputs, memory)
        context, scores, _ = self.attention.attend_sequence(
            outputs, memory, return_weights=True, training=training
        )
        return self._join(outputs, context), scores

    def _sequence_by_steps(self, inputs, state, memory):
        batch, source = ops.shape(memory.values)[:2]
        blank = (
            ops.zeros((batch, 1, self.output_size), self.compute_dtype),
            ops.zeros((batch, 1, source), self.compute_dtype),
        )

        def step(carry, x):
            position, state = carry
            output, state, scores = self(ops.expand_dims(x, 1), state, memory, position=position)
            return (position + 1, state), (output, scores)

        start = (ops.convert_to_tensor(0, "int32"), state)
        _, (outputs, scores) = scan(step, start, inputs, blank)
        return ops.squeeze(outputs, 2), ops.squeeze(scores, 2)

    def _attend(self, query, memory, position, state):
        return self.attention.attend(
            query,
            memory,
            state=state.get("attention"),
            positions=position,
            return_weights=True,
        )

    def _join(self, output, context):
        if self.combine == "add":
            return output + context
        return self.join(ops.concatenate([context, output], axis=-1))  # eq. 5

    def _run_cell(self, inputs, states):
        batch, beams, _ = ops.shape(inputs)

        def fold(x):
            return ops.reshape(x, (-1, x.shape[-1]))  # (B * K, width)

        def unfold(x):
            return ops.reshape(x, (batch, beams, x.shape[-1]))

        output, after = self.cell(fold(inputs), tree.map_structure(fold, states))
        after = tree.pack_sequence_as(states, [unfold(x) for x in tree.flatten(after)])
        return unfold(output), after

    def get_config(self):
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "attention": keras.saving.serialize_keras_object(self.attention),
            "order": self.order,
            "combine": self.combine,
            "units": self.units,
            "input_feeding": self.input_feeding,
            "gate": self.gate is not None,
        }

    @classmethod
    def from_config(cls, config):
        made = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("cell", "attention")
        }
        return cls(**{**config, **made})


def _no_scores(outputs, memory):
    batch, time, _ = ops.shape(outputs)
    return ops.zeros((batch, time, ops.shape(memory.values)[1]), outputs.dtype)
