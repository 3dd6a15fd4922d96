"""State of a training: the variables of a compiled model and of its optimizer."""

import keras
import numpy as np
from keras import ops

MODEL_FILE = "model.npz"  # the weights, in the order and format of `training.average_weights`
TRAINING_FILE = "training.npz"  # seed generators and optimizer

State = dict[str, list[np.ndarray]]  # arrays of each file


def read_state(model: keras.Model) -> State:
    """Copies the variables of a compiled model and of its optimizer.

    If they are divided over several processes, each process must call it.
    """
    return {name: [_copy(each) for each in group] for name, group in _variables(model).items()}


def restore_state(model: keras.Model, state: State) -> None:
    """Sets the variables of a compiled model and of its optimizer.

    Raises:
        ValueError: If their number, a shape or a data type differs.
    """
    groups = _variables(model)
    expected, received = describe(read_state(model)), describe(state)
    for name in groups:
        if expected[name] != received[name]:
            raise ValueError(
                f"The arrays in {name} must be those of the model. Received: {received[name]}, "
                f"expected {expected[name]}"
            )
    for name, variables in groups.items():
        for variable, value in zip(variables, state[name], strict=True):
            variable.assign(value)


def _variables(model: keras.Model) -> dict[str, list[keras.Variable]]:
    weights = {id(variable) for variable in model.weights}
    seeds = [variable for variable in model.variables if id(variable) not in weights]
    return {MODEL_FILE: model.weights, TRAINING_FILE: [*seeds, *model.optimizer.variables]}


def _copy(variable: keras.Variable) -> np.ndarray:
    # .npz files have no bfloat16; float32 holds each of its values
    value = ops.cast(variable, "float32" if variable.dtype == "bfloat16" else variable.dtype)
    if keras.backend.backend() == "jax" and not value.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        return np.array(process_allgather(value, tiled=True))  # other processes have parts of it
    return np.array(ops.convert_to_numpy(value))


def describe(state: State) -> dict[str, list]:
    """Returns shape and data type of each array."""
    return {
        name: [[list(array.shape), str(array.dtype)] for array in arrays]
        for name, arrays in state.items()
    }
