"""Keeps XNNPACK, which TFLite runs by default, from an operation that it loses.

XNNPACK runs RESHAPE and EXPAND_DIMS as a copy. Setting the copy up with one address for its input
and its output marks it as nothing to do, and setting it up again does not take the mark off; only
another shape does. When a graph needs more memory than the graphs before it had, XNNPACK moves the
memory that they share and sets all of them up again, with inputs that are where the last step had
them: places that are free by now, and that the new memory may be at. So a copy is lost by chance,
until the shapes change: a generator whose source is longer than all before it then continues with
an empty state, and gives other words. LiteRT 1.2 to 2.3 and TensorFlow 2.21 do so.

XNNPACK leaves to TFLite what has a shape that is not written in the file.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from keras_attention.export.tflite.flatbuffer import (
    FLOAT32,
    add_tensor,
    builtin_of,
    is_constant,
    new_operator,
)

Op = schema.BuiltinOperator
COPIES = Op.RESHAPE, Op.EXPAND_DIMS


def compute_shapes(file: bytes) -> bytes:
    """A TFLite file whose copies XNNPACK does not take, because their shapes are sums.

    Args:
        file: as TensorFlow's converter writes it, all shapes of RESHAPE among its inputs.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file))
    for graph in model.subgraphs:
        computed, sums = {}, []
        for operator in copies(model, graph):
            constant = operator.inputs[1]
            if constant not in computed:
                computed[constant] = _sum(model, graph, constant, sums)
            operator.inputs = np.array([operator.inputs[0], computed[constant]], "int32")
        graph.operators = sums + graph.operators
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def copies(model: schema.ModelT, graph: schema.SubGraphT) -> list[schema.OperatorT]:
    """The operations of a graph that XNNPACK would run as copies."""
    return [
        operator
        for operator in graph.operators
        if builtin_of(model, operator) in COPIES
        and graph.tensors[operator.inputs[0]].type == FLOAT32
        and is_constant(model, graph, operator.inputs[1])
    ]


def _sum(model, graph, constant, sums) -> int:
    """The place of a constant plus 0."""
    given = graph.tensors[constant]
    shape = [] if given.shape is None else list(given.shape)
    zeros = add_tensor(model, graph, shape, given.type, np.zeros(shape))
    found = add_tensor(model, graph, shape, given.type)
    sums.append(new_operator(model, Op.ADD, [constant, zeros], found, schema.AddOptionsT()))
    return found
