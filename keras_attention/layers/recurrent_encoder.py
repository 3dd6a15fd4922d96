"""Recurrent encoder."""

import keras
from keras import ops, tree

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.rnn_cells import (
    check_rnn_cell,
    clone_cell,
    hidden_state,
    initial_states,
    output_size,
)
from keras_attention.ops.loop import scan


@keras.saving.register_keras_serializable(package="keras_attention")
class RecurrentEncoder(keras.layers.Layer):
    """Reads a sequence with a stack of RNN layers, in one direction or both.

    Bahdanau et al. 2015, section 3.2 (bidirectional: the annotation of a token is the two states
    side by side); Luong et al. 2015, section 3 (stacked). https://arxiv.org/abs/1409.0473

    Args:
        cell: any Keras RNN cell, without dropout of its own. It reads the first layer forward;
            every other layer and direction gets a fresh copy made from its config.
        num_layers: layers in the stack.
        bidirectional: whether each layer also reads backward.
        dropout: rate on the input of every layer after the first.

    Call arguments:
        inputs: `(batch, source, width)`.
        mask: `(batch, source)` bool, True is kept. Padding, left or right, leaves the states
            untouched, so it changes nothing.

    Returns:
        Dictionary: `"sequence"` `(batch, source, directions * units)`, zeros where masked, and
        `"state"` `(batch, directions * units)`, what the last layer's directions held at their end.

    Raises:
        ValueError: if `num_layers` is below 1, the cell has dropout, or the inputs are not of
            rank 3.

    Example:

    >>> import keras, numpy as np
    >>> encoder = RecurrentEncoder(keras.layers.GRUCell(4))
    >>> encoded = encoder(np.ones((2, 5, 3), "float32"))
    >>> tuple(encoded["sequence"].shape), tuple(encoded["state"].shape)
    ((2, 5, 8), (2, 8))
    """

    def __init__(self, cell, num_layers=1, bidirectional=True, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if num_layers < 1:
            raise ValueError(f"num_layers: expected at least 1. Received: num_layers={num_layers}")
        check_rnn_cell(cell)
        self.cell = cell
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        directions = 2 if bidirectional else 1
        cells = [cell] + [clone_cell(cell) for _ in range(num_layers * directions - 1)]
        self.stack = [cells[i : i + directions] for i in range(0, len(cells), directions)]
        self.supports_masking = True

    def build(self, inputs_shape):
        if len(inputs_shape) != 3:
            raise ValueError(
                "inputs: expected (batch, source, width). "
                f"Received: inputs.shape={tuple(inputs_shape)}"
            )
        width = inputs_shape[-1]
        for cells in self.stack:
            for cell in cells:
                build_if_needed(cell, (None, width))
            width = sum(output_size(cell) for cell in cells)
        self.built = True

    def call(self, inputs, mask=None, training=None):
        if mask is None:
            mask = ops.ones(ops.shape(inputs)[:2], "bool")
        x = inputs
        for depth, cells in enumerate(self.stack):
            if depth:
                x = self.dropout(x, training=training)
            ran = [_read(cell, x, mask, reverse=i == 1) for i, cell in enumerate(cells)]
            x = ops.concatenate([outputs for outputs, _ in ran], axis=-1)  # (B, S, directions * U)
        state = ops.concatenate([hidden_state(cells[0], states) for _, states in ran], axis=-1)
        return {"sequence": x, "state": state}

    def compute_mask(self, inputs, previous_mask=None):
        return {"sequence": previous_mask, "state": None}

    def get_config(self):
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout.rate,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})


def _read(cell, inputs, mask, reverse):
    """Runs a cell over `(B, S, width)`; states stand still where the mask is False."""
    batch = ops.shape(inputs)[0]
    states = initial_states(cell, batch)

    def step(states, x):
        x, kept = x
        output, after = cell(x, states)
        after = tree.pack_sequence_as(states, tree.flatten(after))
        held = tree.map_structure(lambda new, old: ops.where(kept, new, old), after, states)
        return held, ops.where(kept, output, ops.zeros_like(output))

    blank = ops.zeros((batch, output_size(cell)), cell.compute_dtype)
    kept = ops.expand_dims(mask, -1)  # (B, S, 1)
    states, outputs = scan(step, states, (inputs, kept), blank, reverse=reverse)
    return outputs, states
