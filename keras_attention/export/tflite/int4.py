"""Weights of four bits, by ai-edge-quantizer."""

from ai_edge_litert import schema_py_generated as schema

from keras_attention.export.tflite.flatbuffer import (
    FLOAT32,
    INT32,
    add_tensor,
    builtin_of,
    is_constant,
    new_operator,
)
from keras_attention.utils.optional_imports import require_extra

Op = schema.BuiltinOperator


def int4(file: bytes) -> bytes:
    """A TFLite file of float32 with the weights of its dense layers and embeddings in four bits.

    Raises:
        ImportError: if the extra `int4` is not installed.
    """
    require_extra("int4", "weights='int4'")
    from ai_edge_litert.tools import flatbuffer_utils
    from ai_edge_quantizer import quantizer, recipe

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
    for graph in model.subgraphs:
        operators, graph.operators = graph.operators, []
        for operator in operators:
            is_table = builtin_of(model, operator) == Op.GATHER and _is_table(
                model, graph, operator
            )
            graph.operators += _looked_up(model, graph, operator) if is_table else [operator]


def _is_table(model, graph, operator):
    table = graph.tensors[operator.inputs[0]]
    options = operator.builtinOptions
    constant = is_constant(model, graph, operator.inputs[0])
    rows = len(table.shape) == 2 and (options.axis, options.batchDims) == (0, 0)
    return constant and rows and table.type == FLOAT32


def _looked_up(model, graph, operator):
    """EMBEDDING_LOOKUP takes ids of one axis: (...) -> (n,) -> (n, width) -> (..., width)."""
    (table, ids), (found,) = operator.inputs, operator.outputs
    rank, width = len(graph.tensors[ids].shape), graph.tensors[table].shape[1]
    shape = add_tensor(model, graph, [rank])
    whole = add_tensor(model, graph, [rank + 1])
    flat = add_tensor(model, graph, [-1])
    rows = add_tensor(model, graph, [-1, width], FLOAT32)
    last = add_tensor(model, graph, [1], values=[width])
    one_axis = add_tensor(model, graph, [1], values=[-1])
    as_int32, joined = schema.ShapeOptionsT(), schema.ConcatenationOptionsT()
    as_int32.outType = INT32
    return [
        new_operator(model, Op.SHAPE, [ids], shape, as_int32),
        new_operator(model, Op.CONCATENATION, [shape, last], whole, joined),
        new_operator(model, Op.RESHAPE, [ids, one_axis], flat),
        new_operator(model, Op.EMBEDDING_LOOKUP, [flat, table], rows),
        new_operator(model, Op.RESHAPE, [rows, whole], found),
    ]
