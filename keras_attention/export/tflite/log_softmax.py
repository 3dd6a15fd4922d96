"""Log-softmax in operators that XNNPACK has."""

from ai_edge_litert import schema_py_generated as schema

from keras_attention.export.tflite.flatbuffer import (
    FLOAT32,
    add_tensor,
    builtin_operator,
    new_operator,
    sizes_of,
)

Op = schema.BuiltinOperator


def expand_log_softmax(model: schema.ModelT) -> None:
    """Replaces each float32 LOG_SOFTMAX of a model by other operators, in place.

    With `shifted = x - max(x)` it is `shifted - log(sum(exp(shifted)))`. TFLite's operator is not
    vectorized, and no delegate has it. TensorFlow's converter makes it of any form of its equation.
    """
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            is_float = graph.tensors[operator.inputs[0]].type == FLOAT32
            if builtin_operator(model, operator) == Op.LOG_SOFTMAX and is_float:
                operators += _expand(model, graph, operator)
            else:
                operators.append(operator)
        graph.operators = operators


def _expand(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> list[schema.OperatorT]:
    """Returns the operators in place of a LOG_SOFTMAX."""
    (x,), (output,) = operator.inputs, operator.outputs
    shape = sizes_of(graph.tensors[x])
    reduced = [*shape[:-1], 1]
    axis = add_tensor(model, graph, [1], values=[len(shape) - 1])
    largest, total, log = (add_tensor(model, graph, reduced, FLOAT32) for _ in range(3))
    shifted, exp = (add_tensor(model, graph, shape, FLOAT32) for _ in range(2))
    reducer = schema.ReducerOptionsT(keepDims=True)
    return [
        new_operator(model, Op.REDUCE_MAX, [x, axis], largest, reducer),
        new_operator(model, Op.SUB, [x, largest], shifted, schema.SubOptionsT()),
        new_operator(model, Op.EXP, [shifted], exp, schema.ExpOptionsT()),
        new_operator(model, Op.SUM, [exp, axis], total, reducer),
        new_operator(model, Op.LOG, [total], log),
        new_operator(model, Op.SUB, [shifted, log], output, schema.SubOptionsT()),
    ]
