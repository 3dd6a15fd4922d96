"""New tensors and operations in a TFLite file that is read as objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

INT32, FLOAT32 = schema.TensorType.INT32, schema.TensorType.FLOAT32
WRITTEN = {INT32: "<i4", schema.TensorType.INT64: "<i8"}  # the types of new constants


def add_tensor(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    shape: Sequence[int],
    type: int = INT32,
    values: np.ndarray | Sequence | None = None,
) -> int:
    """The place of a new tensor of a graph; -1 in its shape is free, `values` are a constant's."""
    tensor = schema.TensorT()
    tensor.name = f"added_{sum(len(each.tensors) for each in model.subgraphs)}".encode()
    tensor.type, tensor.buffer = type, 0
    tensor.shape = np.array([max(1, n) for n in shape], "int32")
    tensor.shapeSignature = np.array(shape, "int32")
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.array(values, WRITTEN[type]).tobytes(), "uint8")
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def new_operator(
    model: schema.ModelT, builtin: int, inputs: Sequence[int], output: int, options: Any = None
) -> schema.OperatorT:
    """An operation, one of `schema.BuiltinOperator`, of tensors at these places."""
    operator = schema.OperatorT()
    operator.opcodeIndex = code_of(model, builtin)
    operator.inputs, operator.outputs = np.array(inputs, "int32"), np.array([output], "int32")
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    return operator


def code_of(model: schema.ModelT, builtin: int) -> int:
    """The place of an operation among those that the file names; new ones are added."""
    for place, code in enumerate(model.operatorCodes):
        if _builtin(code) == builtin:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, 1
    code.deprecatedBuiltinCode = min(builtin, 127)  # a byte: what is greater is told by the other
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def builtin_of(model: schema.ModelT, operator: schema.OperatorT) -> int:
    """Which of `schema.BuiltinOperator` an operation is."""
    return _builtin(model.operatorCodes[operator.opcodeIndex])


def is_constant(model: schema.ModelT, graph: schema.SubGraphT, place: int) -> bool:
    """Whether a tensor's values are in the file."""
    return model.buffers[graph.tensors[place].buffer].data is not None


def _builtin(code):
    return max(code.builtinCode, code.deprecatedBuiltinCode)
