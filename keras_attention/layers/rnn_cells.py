"""What the library asks of a Keras RNN cell, and what Keras leaves to its RNN layer."""

from typing import Any

from keras import ops, tree


def check_rnn_cell(cell: Any) -> None:
    """Raises a `ValueError` unless the object is an RNN cell that keeps nothing between steps."""
    if not hasattr(cell, "state_size"):
        raise ValueError(f"cell: expected a Keras RNN cell, with `state_size`. Received: {cell!r}")
    for one in getattr(cell, "cells", [cell]):
        rates = [getattr(one, name, 0) for name in ("dropout", "recurrent_dropout")]
        # Such a cell holds on to the masks it draws, which must not leave a compiled loop.
        if hasattr(one, "reset_dropout_mask") and any(rates):
            raise ValueError(
                "cell: expected no dropout in the cell; the encoder and the decoder have a "
                f"`dropout` of their own. Received: dropout, recurrent_dropout={rates}"
            )


def output_size(cell: Any) -> int:
    """Width of what a cell returns; Keras lets a cell leave it out."""
    return getattr(cell, "output_size", None) or tree.flatten(cell.state_size)[0]


def initial_states(cell: Any, batch: Any) -> list:
    """The states before the first step, `(batch, units)` each, nested as the cell has them."""
    if not hasattr(cell, "get_initial_state"):
        sizes = tree.flatten(cell.state_size)
        return [ops.zeros((batch, size), cell.compute_dtype) for size in sizes]
    states = cell.get_initial_state(batch_size=batch)
    return states if isinstance(states, list) else [states]


def hidden_state(cell: Any, states: list):
    """The state that a cell shows: `h` of the top layer."""
    return tree.flatten(states[-1])[0] if hasattr(cell, "cells") else states[0]


def clone_cell(cell: Any):
    """A cell of the same config with weights of its own."""
    return cell.__class__.from_config({**cell.get_config(), "name": None})
