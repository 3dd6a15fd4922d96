"""Quantization of weights to 4 bits with ai-edge-quantizer."""

import math

from ai_edge_litert import schema_py_generated as schema

from keras_attention.export.tflite.flatbuffer import (
    FLOAT32,
    INT32,
    add_tensor,
    builtin_operator,
    has_static_shape,
    is_constant,
    new_operator,
    read_model,
    write_model,
)
from keras_attention.export.tflite.metadata import raise_min_runtime_version
from keras_attention.utils.optional_imports import require_extra

Op = schema.BuiltinOperator
# tflite/tools/versioning/op_version.cc and runtime_version.cc of LiteRT
LOOKUP_VERSION, LOOKUP_RUNTIME = 4, "2.18.0"


def quantize_to_int4(file: bytes) -> bytes:
    """Quantizes the weights of dense layers and embeddings to 4 bits, with a scale for each row.

    Args:
        file: contents of a TFLite file in float32.

    Raises:
        ImportError: If the extra `int4` is not installed.
    """
    require_extra("int4", "weights='int4'")
    from ai_edge_quantizer import quantizer, recipe

    model = read_model(file)
    replace_gathers(model)
    file = write_model(model)
    result = quantizer.Quantizer(bytearray(file), recipe.dynamic_wi4_afp32()).quantize()
    model = read_model(bytes(result.quantized_model))
    _declare_versions(model)
    return write_model(model)


def _declare_versions(model: schema.ModelT) -> None:
    """Writes the version of EMBEDDING_LOOKUP that reads 4 bits, so that older runtimes refuse it.

    The quantizer leaves the version that reads floats.
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            if builtin_operator(model, operator) == Op.EMBEDDING_LOOKUP:
                table = graph.tensors[operator.inputs[1]]
                if table.type == schema.TensorType.INT4:
                    model.operatorCodes[operator.opcodeIndex].version = LOOKUP_VERSION
                    raise_min_runtime_version(model, LOOKUP_RUNTIME)


def replace_gathers(model: schema.ModelT) -> None:
    """Replaces each GATHER of rows from a float32 constant by EMBEDDING_LOOKUP, in place.

    EMBEDDING_LOOKUP can read a quantized table. GATHER needs a copy of the table in float32, next
    to the quantized one that a tied output layer multiplies with.
    """
    for graph in model.subgraphs:
        operators, graph.operators = graph.operators, []
        for operator in operators:
            if _gathers_rows(model, graph, operator):
                graph.operators += _embedding_lookup(model, graph, operator)
            else:
                graph.operators.append(operator)


def _gathers_rows(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> bool:
    """Returns True for a GATHER of rows from a constant float32 matrix."""
    if builtin_operator(model, operator) != Op.GATHER:
        return False
    table, options = graph.tensors[operator.inputs[0]], operator.builtinOptions
    selects_rows = len(table.shape) == 2 and (options.axis, options.batchDims) == (0, 0)
    return selects_rows and table.type == FLOAT32 and is_constant(model, graph, operator.inputs[0])


def _embedding_lookup(
    model: schema.ModelT, graph: schema.SubGraphT, gather: schema.OperatorT
) -> list[schema.OperatorT]:
    """Returns the operators that replace a GATHER.

    EMBEDDING_LOOKUP takes ids of one axis, so ids (...) are reshaped to (n,), and the rows
    (n, width) to (..., width).
    """
    (table, ids), (output,) = gather.inputs, gather.outputs
    width = graph.tensors[table].shape[1]
    count = math.prod(graph.tensors[ids].shape) if has_static_shape(graph.tensors[ids]) else -1
    flat_shape = add_tensor(model, graph, [1], values=[count])
    flat_ids = add_tensor(model, graph, [count])
    rows = add_tensor(model, graph, [count, width], FLOAT32)
    output_shape, shape_operators = _shape_of_rows(model, graph, ids, width)
    return [
        *shape_operators,
        new_operator(model, Op.RESHAPE, [ids, flat_shape], flat_ids),
        new_operator(model, Op.EMBEDDING_LOOKUP, [flat_ids, table], rows),
        new_operator(model, Op.RESHAPE, [rows, output_shape], output),
    ]


def _shape_of_rows(
    model: schema.ModelT, graph: schema.SubGraphT, ids: int, width: int
) -> tuple[int, list[schema.OperatorT]]:
    """Adds a tensor with the shape (..., width) of the rows of ids (...).

    Returns:
        Its index, and the operators that compute it; none if it is static.
    """
    shape = list(graph.tensors[ids].shape)
    if has_static_shape(graph.tensors[ids]):
        return add_tensor(model, graph, [len(shape) + 1], values=[*shape, width]), []
    ids_shape = add_tensor(model, graph, [len(shape)])
    output_shape = add_tensor(model, graph, [len(shape) + 1])
    width_constant = add_tensor(model, graph, [1], values=[width])
    options = schema.ShapeOptionsT()
    options.outType = INT32
    parts = [ids_shape, width_constant]
    return output_shape, [
        new_operator(model, Op.SHAPE, [ids], ids_shape, options),
        new_operator(model, Op.CONCATENATION, parts, output_shape, schema.ConcatenationOptionsT()),
    ]
