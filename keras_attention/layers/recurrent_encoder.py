"""RNN encoder."""

from typing import Any

import keras
from keras import ops, tree

from keras_attention.layers.build import build_if_needed, deserialize_config
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
    """RNN encoder: a stack of RNN layers, unidirectional or bidirectional.

    Bahdanau et al. 2015, section 3.2 (bidirectional: the annotation of a token is the concatenation
    of the two states); Luong et al. 2015, section 3 (stacked).

    Args:
        cell: Keras RNN cell, without dropout of its own. It is the forward cell of the first layer;
            every other layer and direction gets a new cell with the same config.
        num_layers: number of layers.
        bidirectional: whether each layer also reads the sequence backward.
        dropout: dropout rate of the input of every layer after the first.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: `(batch, source, width)`.
        mask: bool `(batch, source)`, False for padding. Padding may be on the left or on the right;
            it leaves the states unchanged.
        training: whether the layer runs in training mode.

    Returns:
        Dictionary of `"sequence"`, `(batch, source, directions * units)`, with zeros at masked
        positions, and `"state"`, `(batch, directions * units)`, the final hidden state of the last
        layer's directions.

    Raises:
        ValueError: If `num_layers` is below 1, the cell is not an RNN cell or has dropout, or the
            inputs are not of rank 3.

    References:
        Bahdanau et al. 2015, [Neural Machine Translation by Jointly Learning to Align and
        Translate](https://arxiv.org/abs/1409.0473).

    Example:

    >>> import numpy as np
    >>> encoder = RecurrentEncoder(keras.layers.GRUCell(4))
    >>> encoded = encoder(np.ones((2, 5, 3), "float32"))
    >>> tuple(encoded["sequence"].shape), tuple(encoded["state"].shape)
    ((2, 5, 8), (2, 8))
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if num_layers < 1:
            raise ValueError(f"`num_layers` must be at least 1. Received: num_layers={num_layers}")
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
                "`inputs` must be of shape (batch, source, width). "
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
            outputs, hidden_states = [], []
            for cell, reverse in zip(cells, (False, True), strict=False):
                output, states = _run(cell, x, mask, reverse, bool(training))
                outputs.append(output)
                hidden_states.append(hidden_state(cell, states))
            x = ops.concatenate(outputs, axis=-1)  # (B, S, directions * U)
        return {"sequence": x, "state": ops.concatenate(hidden_states, axis=-1)}

    def compute_output_shape(self, inputs_shape):
        batch, time, _ = inputs_shape
        width = sum(output_size(cell) for cell in self.stack[-1])
        return {"sequence": (batch, time, width), "state": (batch, width)}

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
        return cls(**deserialize_config(config, "cell"))


def _run(cell, inputs, mask, reverse, training):
    """Runs a cell over `(B, S, width)`; masked steps leave the states unchanged."""
    states = initial_states(cell, ops.shape(inputs)[0])

    def step(states, x):
        x, mask = x
        output, next_states = cell(x, states)
        next_states = tree.pack_sequence_as(states, tree.flatten(next_states))
        states = tree.map_structure(lambda new, old: ops.where(mask, new, old), next_states, states)
        return states, ops.where(mask, output, ops.zeros_like(output))

    step_output = ops.zeros((ops.shape(inputs)[0], output_size(cell)), cell.compute_dtype)
    mask = ops.expand_dims(mask, -1)  # (B, S, 1)
    states, outputs = scan(step, states, (inputs, mask), step_output, reverse, training)
    return outputs, states
