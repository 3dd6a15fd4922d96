"""Batched matrix products in the form that XNNPACK computes fastest."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_attention.export.tflite.flatbuffer import (
    FLOAT32,
    add_tensor,
    builtin_operator,
    is_constant,
    new_operator,
    sizes_of,
)

Op = schema.BuiltinOperator


def transpose_factors(model: schema.ModelT) -> None:
    """Writes the float32 batched products `x y` of a model as `x (y^T)^T`, in place.

    XNNPACK rearranges the second factor, such as the values in the cache of a decoder, for each
    product. It does so with vector instructions only if the factor is read transposed, and a
    TRANSPOSE has them, too. Otherwise this takes longer than the product itself in a step of
    decoding, where there is one query.
    """
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            if _is_plain_product(model, graph, operator):
                operators.append(_transpose_second_factor(model, graph, operator))
            operators.append(operator)
        graph.operators = operators


def _is_plain_product(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> bool:
    """Returns True for a float32 BATCH_MATMUL that computes its second factor and reads it as is.

    XNNPACK rearranges a constant factor once.
    """
    if builtin_operator(model, operator) != Op.BATCH_MATMUL or operator.builtinOptions.adjY:
        return False
    factor = operator.inputs[1]
    return graph.tensors[factor].type == FLOAT32 and not is_constant(model, graph, factor)


def _transpose_second_factor(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> schema.OperatorT:
    """Lets a product read a transposed tensor; returns the operator that computes the tensor."""
    factor = operator.inputs[1]
    shape = sizes_of(graph.tensors[factor])
    axes = np.arange(len(shape))
    axes[-2:] = axes[:-3:-1]
    permutation = add_tensor(model, graph, [len(axes)], values=axes)
    transposed = add_tensor(model, graph, [shape[axis] for axis in axes], FLOAT32)
    operator.inputs = np.array([operator.inputs[0], transposed], "int32")
    operator.builtinOptions.adjY = True
    options = schema.TransposeOptionsT()
    return new_operator(model, Op.TRANSPOSE, [factor, permutation], transposed, options)
