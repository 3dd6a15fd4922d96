"""Workaround for an XNNPACK bug that drops in-place copies.

TFLite runs float32 operators with XNNPACK by default. XNNPACK implements RESHAPE and EXPAND_DIMS as
a copy. If the input and the output have the same address when the copy is set up, XNNPACK marks
it as a no-op. Setting it up again with other addresses does not remove the mark; only another shape
does.

When a graph needs more memory than the graphs before it, XNNPACK moves the memory that all graphs
share and sets up all copies again. It uses the inputs' addresses of the previous step, which are
free by now, so that the new memory may lie at the same addresses. Whether a copy is lost is
therefore a matter of chance. If it is, a generator whose source is longer than all sources before
it continues with an empty state and returns wrong text. LiteRT 1.2 to 2.3 and TensorFlow 2.21 have
this bug.

XNNPACK leaves a reshape to TFLite if its shape is not a constant in the file. `compute_shapes`
therefore turns each constant shape into the sum of the constant and zero.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_attention.export.tflite.flatbuffer import (
    FLOAT32,
    add_tensor,
    builtin_operator,
    is_constant,
    new_operator,
)

Op = schema.BuiltinOperator
COPIES = Op.RESHAPE, Op.EXPAND_DIMS


def compute_shapes(model: schema.ModelT) -> None:
    """Makes a model compute the shapes of its float32 reshapes when it runs, in place.

    Args:
        model: from TensorFlow's converter, which writes the shape of each RESHAPE as an input.
    """
    for graph in model.subgraphs:
        sum_of: dict[int, int] = {}  # constant to its sum with zero
        additions: list[schema.OperatorT] = []
        for operator in find_copies(model, graph):
            constant = operator.inputs[1]
            if constant not in sum_of:
                sum_of[constant], addition = _add_zero(model, graph, constant)
                additions.append(addition)
            operator.inputs = np.array([operator.inputs[0], sum_of[constant]], "int32")
        graph.operators = additions + graph.operators


def find_copies(model: schema.ModelT, graph: schema.SubGraphT) -> list[schema.OperatorT]:
    """Returns the operators of a graph that XNNPACK would run as copies."""
    return [
        operator
        for operator in graph.operators
        if builtin_operator(model, operator) in COPIES
        and graph.tensors[operator.inputs[0]].type == FLOAT32
        and is_constant(model, graph, operator.inputs[1])
    ]


def _add_zero(
    model: schema.ModelT, graph: schema.SubGraphT, constant: int
) -> tuple[int, schema.OperatorT]:
    """Adds a tensor for a constant plus 0; returns its index and the operator that computes it."""
    tensor = graph.tensors[constant]
    shape = [] if tensor.shape is None else list(tensor.shape)
    zeros = add_tensor(model, graph, shape, tensor.type, np.zeros(shape))
    total = add_tensor(model, graph, shape, tensor.type)
    return total, new_operator(model, Op.ADD, [constant, zeros], total, schema.AddOptionsT())
