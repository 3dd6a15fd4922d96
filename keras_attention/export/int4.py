"""Weights of four bits, by ai-edge-quantizer."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

INT32, FLOAT32 = schema.TensorType.INT32, schema.TensorType.FLOAT32
Op = schema.BuiltinOperator


def int4(file: bytes) -> bytes:
    """A TFLite file of float32 with the weights of its dense layers and embeddings in four bits.

    Raises:
        ImportError: if ai-edge-quantizer is not installed.
    """
    try:
        from ai_edge_litert.tools import flatbuffer_utils
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as error:
        raise ImportError(
            "weights='int4' is written by ai-edge-quantizer: pip install keras-attention[int4]. "
            f"Received: {error}"
        ) from error
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file))
    look_up(model)
    file = flatbuffer_utils.convert_object_to_bytearray(model)
    made = quantizer.Quantizer(bytearray(file), recipe.dynamic_wi4_afp32()).quantize()
    return bytes(made.quantized_model)


def look_up(model: schema.ModelT) -> None:
    """Makes each GATHER of rows of a table an EMBEDDING_LOOKUP, whose table may have few bits.

    GATHER would keep the table in float32, once more for each graph that multiplies with it too.

    Args:
        model: is changed.
    """
    gather = _code(model, Op.GATHER)
    for graph in model.subgraphs:
        operators, graph.operators = graph.operators, []
        for operator in operators:
            is_table = operator.opcodeIndex == gather and _is_table(model, graph, operator)
            graph.operators += _looked_up(model, graph, operator) if is_table else [operator]


def _is_table(model, graph, operator):
    table = graph.tensors[operator.inputs[0]]
    options = operator.builtinOptions
    constant = model.buffers[table.buffer].data is not None
    rows = len(table.shape) == 2 and (options.axis, options.batchDims) == (0, 0)
    return constant and rows and table.type == FLOAT32


def _looked_up(model, graph, operator):
    """EMBEDDING_LOOKUP takes ids of one axis: (...) -> (n,) -> (n, width) -> (..., width)."""
    (table, ids), (found,) = operator.inputs, operator.outputs
    rank, width = len(graph.tensors[ids].shape), graph.tensors[table].shape[1]
    shape = _tensor(model, graph, [rank])
    whole = _tensor(model, graph, [rank + 1])
    flat = _tensor(model, graph, [-1])
    rows = _tensor(model, graph, [-1, width], FLOAT32)
    last = _tensor(model, graph, [1], values=[width])
    one_axis = _tensor(model, graph, [1], values=[-1])
    as_int32, joined = schema.ShapeOptionsT(), schema.ConcatenationOptionsT()
    as_int32.outType = INT32
    return [
        _operator(model, Op.SHAPE, [ids], shape, as_int32),
        _operator(model, Op.CONCATENATION, [shape, last], whole, joined),
        _operator(model, Op.RESHAPE, [ids, one_axis], flat),
        _operator(model, Op.EMBEDDING_LOOKUP, [flat, table], rows),
        _operator(model, Op.RESHAPE, [rows, whole], found),
    ]


def _tensor(model, graph, shape, type=INT32, values=None) -> int:
    """A new tensor of a graph; -1 in its shape is free."""
    tensor = schema.TensorT()
    tensor.name = f"look_up_{sum(len(each.tensors) for each in model.subgraphs)}".encode()
    tensor.type, tensor.buffer = type, 0
    tensor.shape = np.array([max(1, n) for n in shape], "int32")
    tensor.shapeSignature = np.array(shape, "int32")
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.array(values, "<i4").view("uint8")
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(model, builtin, inputs, output, options: Any = None):
    operator = schema.OperatorT()
    operator.opcodeIndex = _code(model, builtin)
    operator.inputs, operator.outputs = np.array(inputs, "int32"), np.array([output], "int32")
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    return operator


def _code(model, builtin) -> int:
    """The place of an operation among those that the file names; new ones are added."""
    for place, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, 1
    code.deprecatedBuiltinCode = min(builtin, 127)  # a byte: what is greater is told by the other
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
