"""Lookups of embeddings in a form that reads quantized tables."""

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
)

Op = schema.BuiltinOperator


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
