"""Names of the tensors that `encode` hands to `decode`, each of which a runtime keeps apart.

LiteRT's `CompiledModel` and LiteRT.js drop an output that shares memory with another one or with an
input, and LiteRT.js refuses booleans. So equal tensors have one name, tensors that `decode` does
not read have none, zeros are left to the app, and masks are int32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

PARTS = ("constants", "state")


@dataclass(frozen=True)
class StepTensors:
    """The constants and the state of a decoder as named tensors.

    Attributes:
        structures: nested constants and state.
        names: name of each of their leaves, by part; `None` where `decode` reads no tensor.
        spec: specification of each named tensor.
        booleans: names of the masks.
        zero: names of the tensors that are zero at first, which `encode` does not return.
    """

    structures: tuple[Any, Any]
    names: tuple[list[str | None], list[str | None]]
    spec: dict[str, tf.TensorSpec]
    booleans: frozenset[str]
    zero: frozenset[str]

    def outputs_of_start(self, constants: Any, state: Any) -> dict[str, tf.Tensor]:
        """Returns the outputs of `encode`."""
        outputs = {}
        for names, part in zip(self.names, (constants, state), strict=True):
            for name, x in zip(names, keras.tree.flatten(part), strict=True):
                if name is not None and name not in self.zero and name not in outputs:
                    outputs[name] = self._without_booleans(name, x)
        return outputs

    def restore(self, inputs: dict[str, tf.Tensor]) -> list[Any]:
        """Returns constants and state from the inputs of `decode`."""

        def tensor(name, x):
            if name is None:  # of a tensor that no step reads, the shape may be read
                return x if x is None else tf.zeros([n or 0 for n in x.shape], x.dtype)
            return inputs[name] != 0 if name in self.booleans else inputs[name]

        restored = []
        for structure, names in zip(self.structures, self.names, strict=True):
            leaves = zip(names, keras.tree.flatten(structure), strict=True)
            restored.append(
                keras.tree.pack_sequence_as(structure, [tensor(*leaf) for leaf in leaves])
            )
        return restored

    def changes(self, state: Any, new_state: Any) -> dict[str, tf.Tensor]:
        """Returns the tensors of the state that are not those of the step before, by name."""
        leaves = (keras.tree.flatten(each) for each in (state, new_state))
        pairs = zip(self.names[1], *leaves, strict=True)
        return {
            name: self._without_booleans(name, new)
            for name, old, new in pairs
            if name is not None and new is not old
        }

    def zeros(self) -> dict[str, np.ndarray]:
        """Returns the tensors that `encode` does not return."""
        return {
            name: np.zeros(self.spec[name].shape, self.spec[name].dtype.as_numpy_dtype)
            for name in self.zero
        }

    def _without_booleans(self, name, x):
        return tf.cast(x, "int32") if name in self.booleans else x


def trace_step_tensors(
    start: Callable[[tf.Tensor], tuple[Any, Any]],
    advance: Callable[..., Any],
    input_spec: tf.TensorSpec,
    step_spec: dict[str, tf.TensorSpec],
) -> StepTensors:
    """Names the constants and the state of a decoder.

    Args:
        start: `start(source)` returns constants and state.
        advance: `advance(ids, position, constants, state)` computes one step.
        input_spec: of `source`.
        step_spec: of `ids` and `position`.
    """
    started: list[Any] = []

    @tf.function(input_signature=[input_spec], autograph=False)
    def trace(source):
        started.extend(start(source))

    graph = trace.get_concrete_function().graph
    numbers = _number_expressions(graph)
    leaves = [keras.tree.flatten(part) for part in started]
    used = _find_used(advance, started, step_spec)

    names: tuple[list, list] = ([], [])
    spec, booleans, zero = {}, set(), set()
    name_of: dict[int, str] = {}
    for part, part_names, part_leaves, part_used in zip(PARTS, names, leaves, used, strict=True):
        for i, (x, is_used) in enumerate(zip(part_leaves, part_used, strict=True)):
            name = f"{part}_{i:02d}" if is_used else None
            if name and part == "constants":
                name = name_of.setdefault(numbers[x.op.name, x.value_index], name)
            part_names.append(name)
            if name is None or name in spec:
                continue
            dtype = tf.int32 if x.dtype == tf.bool else x.dtype
            spec[name] = tf.TensorSpec(x.shape, dtype, name=name)
            if x.dtype == tf.bool:
                booleans.add(name)
            value = tf.get_static_value(x) if part == "state" else None
            if value is not None and not value.any():
                zero.add(name)
    return StepTensors((started[0], started[1]), names, spec, frozenset(booleans), frozenset(zero))


def _find_used(advance, started, step_spec):
    """Returns for each leaf of constants and state whether a step reads it."""
    leaves = [keras.tree.flatten(part) for part in started]
    specs = [
        [None if x is None else tf.TensorSpec(x.shape, x.dtype) for x in part] for part in leaves
    ]
    used: list[list[bool]] = []

    @tf.function(autograph=False)
    def trace(ids, position, constants, state):
        parts = [
            keras.tree.pack_sequence_as(structure, part)
            for structure, part in zip(started, (constants, state), strict=True)
        ]
        advance(ids, position, *parts)
        for part in (constants, state):
            used.append([x is not None and bool(x.consumers()) for x in part])

    trace.get_concrete_function(step_spec["ids"], step_spec["position"], *specs)
    return used


def _number_expressions(graph: tf.Graph) -> dict[tuple[str, int], int]:
    """Returns a number for each tensor, by operation and index; equal if computed alike."""
    numbers: dict[Any, int] = {}
    of_tensor: dict[tuple[str, int], int] = {}
    for operation in graph.get_operations():  # inputs come before
        attributes = sorted((k, v.SerializeToString()) for k, v in operation.node_def.attr.items())
        inputs = tuple(of_tensor[x.op.name, x.value_index] for x in operation.inputs)
        own_name = operation.name if operation.type == "Placeholder" else ""
        key = operation.type, own_name, tuple(attributes), inputs
        for x in operation.outputs:
            number = numbers.setdefault((key, x.value_index), len(numbers))
            of_tensor[operation.name, x.value_index] = number
    return of_tensor
