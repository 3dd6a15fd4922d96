"""Reading, editing and writing of TFLite files as objects of LiteRT's schema."""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

INT32, FLOAT32 = schema.TensorType.INT32, schema.TensorType.FLOAT32
CONSTANT_DTYPES = {INT32: "<i4", schema.TensorType.INT64: "<i8"}
FILE_IDENTIFIER = b"TFL3"
SIZE_OF_GRAPHS = 1 << 20  # bytes; the builder grows if the graphs of a model need more
MAX_DEPRECATED_CODE = 127  # `deprecatedBuiltinCode` is a byte


def read_model(file: bytes) -> schema.ModelT:
    """Parses the contents of a TFLite file.

    The data of the buffers are not copied, so they are as immutable as `file`.
    """
    return flatbuffer_utils.read_model_from_bytearray(file)


def write_model(model: schema.ModelT) -> bytes:
    """Returns the contents of a TFLite file."""
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in model.buffers]
    # A smaller builder doubles its memory and copies the weights whenever it grows.
    builder = flatbuffers.Builder(sum(sizes) + SIZE_OF_GRAPHS)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


def add_tensor(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    shape: Sequence[int],
    dtype: int = INT32,
    values: np.ndarray | Sequence | None = None,
) -> int:
    """Adds a tensor to a graph and returns its index.

    Args:
        model: the model that contains the graph.
        graph: the graph to add the tensor to.
        shape: sizes, -1 for a free dimension.
        dtype: a `schema.TensorType`.
        values: values of a constant of one of `CONSTANT_DTYPES`. Defaults to a tensor that an
            operator computes.
    """
    tensor = schema.TensorT()
    tensor.name = f"added_{sum(len(each.tensors) for each in model.subgraphs)}".encode()
    tensor.type, tensor.buffer = dtype, 0
    tensor.shape = np.array([max(1, size) for size in shape], "int32")
    tensor.shapeSignature = np.array(shape, "int32")
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.array(values, CONSTANT_DTYPES[dtype]).tobytes(), "uint8")
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def new_operator(
    model: schema.ModelT, builtin: int, inputs: Sequence[int], output: int, options: Any = None
) -> schema.OperatorT:
    """Returns a new operator, which is not yet in a graph.

    Args:
        model: the model, whose operator codes are extended if needed.
        builtin: a `schema.BuiltinOperator`.
        inputs: indices of the input tensors.
        output: index of the output tensor.
        options: the operator's options, such as a `schema.ShapeOptionsT`.
    """
    operator = schema.OperatorT()
    operator.opcodeIndex = _operator_code_index(model, builtin)
    operator.inputs, operator.outputs = np.array(inputs, "int32"), np.array([output], "int32")
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    return operator


def _operator_code_index(model: schema.ModelT, builtin: int) -> int:
    """Returns the index of an operator in the model's table of codes, adding it if needed."""
    for index, code in enumerate(model.operatorCodes):
        if builtin_code(code) == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, 1
    code.deprecatedBuiltinCode = min(builtin, MAX_DEPRECATED_CODE)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def builtin_operator(model: schema.ModelT, operator: schema.OperatorT) -> int:
    """Returns an operator's `schema.BuiltinOperator`."""
    return builtin_code(model.operatorCodes[operator.opcodeIndex])


def sizes_of(tensor: schema.TensorT) -> list[int]:
    """Returns the sizes of a tensor, -1 for a free dimension."""
    sizes = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return [int(size) for size in sizes]


def has_static_shape(tensor: schema.TensorT) -> bool:
    """Returns True if no size of a tensor is free."""
    return tensor.shapeSignature is None or all(size >= 0 for size in tensor.shapeSignature)


def is_constant(model: schema.ModelT, graph: schema.SubGraphT, tensor: int) -> bool:
    """Returns True if the values of the tensor with this index are in the file."""
    return model.buffers[graph.tensors[tensor].buffer].data is not None


def builtin_code(code: schema.OperatorCodeT) -> int:
    """Returns the `schema.BuiltinOperator` of an entry of a model's table of codes."""
    return max(code.builtinCode, code.deprecatedBuiltinCode)
