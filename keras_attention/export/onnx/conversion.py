"""Conversion of a signature to an ONNX model, with tf2onnx."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from tf2onnx import optimizer, tf_loader, tfonnx, utils
from tf2onnx.onnx_opset.math import FloorMod

from keras_attention.export.signatures import Signature, trace_once
from keras_attention.export.verification.compare import ExportError
from keras_attention.ops.fused import explicit_scope
from keras_attention.ops.linear import weights_last_scope

OPSET = 18
MAX_BYTES = 2**31 - 1  # of a file, which is one message of Protocol Buffers


def convert(signature: Signature, num_bytes: int = 0) -> onnx.ModelProto:
    """Returns an ONNX model of a signature.

    The first two free sizes of an input are named `batch` and `length`.

    Args:
        signature: function of the model.
        num_bytes: size of the weights.

    Raises:
        ExportError: If ONNX has no operation for one of the graph, or the weights are too large.
    """
    if num_bytes > MAX_BYTES:
        raise ExportError(
            f"The weights must have at most {MAX_BYTES} bytes, the limit of an ONNX file. "
            f"Received: {num_bytes} bytes"
        )
    with explicit_scope(True), weights_last_scope():  # traced here
        traced = trace_once(signature.function, signature.input_spec).get_concrete_function()
    inputs = [x.name for x in traced.inputs if x.dtype != tf.resource]
    outputs = [x.name for x in traced.outputs]
    # TensorFlow sorts the names of dictionaries.
    names = [*sorted(signature.input_spec), *sorted(traced.structured_outputs)]
    try:
        graph_def = tf_loader.from_function(traced, inputs, outputs)  # weights as constants
        with tf.Graph().as_default() as graph, _quiet():
            tf.import_graph_def(graph_def, name="")
            converted = tfonnx.process_tf_graph(
                graph,
                opset=OPSET,
                custom_op_handlers={name: (make, []) for name, make in OPERATIONS.items()},
                input_names=inputs,
                output_names=outputs,
                tensors_to_rename=dict(zip([*inputs, *outputs], names, strict=True)),
            )
        # ONNX Runtime optimizes the graph when it loads it; this only sorts the operations.
        converted = optimizer.optimize_graph(converted, optimizers={})
        model = converted.make_model(signature.name)
        # tf2onnx leaves an operation that it does not know as it is.
        onnx.checker.check_model(model)
    except Exception as error:  # tf2onnx has no class of errors
        raise ExportError(
            f"The model must convert to operations of ONNX. Received: {error}"
        ) from error
    _share_weights(model.graph)
    _declare_loop_counters(model.graph)
    for value in model.graph.input:
        _name_free_sizes(value, ("batch", "length"))
    for value in model.graph.output:
        _name_free_sizes(value, ("batch",))
    return model


def _declare_loop_counters(graph: onnx.GraphProto) -> None:
    """Declares the counter and the condition of each loop as scalars, as which ONNX defines them.

    ONNX Runtime refuses a loop without these shapes, which tf2onnx does not always find.
    """
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type != onnx.AttributeProto.GRAPH:
                continue
            _declare_loop_counters(attribute.g)
            if node.op_type == "Loop":
                for value in attribute.g.input[:2]:
                    value.type.tensor_type.shape.SetInParent()


def _share_weights(graph: onnx.GraphProto) -> None:
    """Keeps one copy of embeddings that are also the output weights, as they are or transposed.

    ONNX Runtime transposes them once, while it loads the file.
    """
    stored: dict[tuple, onnx.TensorProto] = {}
    renamed = {}
    for weight in list(graph.initializer):
        if len(weight.dims) != 2 or not weight.raw_data:
            continue
        array = onnx.numpy_helper.to_array(weight)
        equal = stored.get((array.shape, weight.raw_data))
        transposed = stored.get((array.shape[::-1], array.T.tobytes()))
        if equal is not None:
            renamed[weight.name] = equal.name
        elif transposed is not None:
            node = onnx.helper.make_node("Transpose", [transposed.name], [weight.name])
            graph.node.insert(0, node)
        else:
            stored[array.shape, weight.raw_data] = weight
            continue
        graph.initializer.remove(weight)
    _rename_inputs(graph, renamed)


def _rename_inputs(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Renames inputs of operations, also in branches and loops, which read the outer graph."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename_inputs(attribute.g, names)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences tf2onnx's log: of unknown shapes, and of errors that are raised here."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _name_free_sizes(value: onnx.ValueInfoProto, names: Sequence[str]) -> None:
    """Names the first free sizes of an input or output; tf2onnx numbers them."""
    sizes = value.type.tensor_type.shape.dim
    for size, name in zip(sizes, names, strict=False):
        if not size.HasField("dim_value"):
            size.dim_param = name


def _update_slice(graph: Any, node: Any, name: str, args: Sequence) -> None:
    """Converts `XlaDynamicUpdateSlice`, which is `keras.ops.slice_update` and new to tf2onnx.

    The update is padded to the shape of the input. Where there is no padding, it replaces the
    input. The indices must be such that it fits.

    Args:
        graph: tf2onnx's graph.
        node: the operation, of an input, an update and the indices where the update starts.
        name: name of the operation.
        args: not used.
    """
    source, update, start = node.input
    dtype, shape = graph.get_dtype(source), graph.get_shape(source)

    def make(operation, inputs, **attributes):
        return graph.make_node(operation, inputs, attr=attributes).output[0]

    start = make("Cast", [start], to=onnx.TensorProto.INT64)
    update_shape = make("Shape", [update])
    rest = make("Sub", [make("Sub", [make("Shape", [source]), update_shape]), start])
    padding = make("Concat", [start, rest], axis=0)
    one = onnx.helper.make_tensor("one", onnx.TensorProto.INT32, [1], [1])
    ones = make("ConstantOfShape", [update_shape], value=one)
    is_update = make("Pad", [ones, padding, _constant(graph, onnx.TensorProto.INT32, 0)])
    is_update = make("Cast", [is_update], to=onnx.TensorProto.BOOL)
    padded = make("Pad", [update, padding, _constant(graph, dtype, 0)])
    graph.remove_node(node.name)
    graph.make_node(
        "Where", [is_update, padded, source], outputs=node.output, name=name, dtypes=[dtype],
        shapes=[shape],
    )  # fmt: skip


def _floor_modulo(graph: Any, node: Any, name: str, args: Sequence) -> None:
    """Converts `FloorMod`; tf2onnx gives integers the sign of the dividend."""
    dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
    if dtype in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        graph.remove_node(node.name)
        graph.make_node(
            "Mod", node.input, outputs=node.output, name=name, dtypes=[dtype], shapes=[shape]
        )
    else:
        FloorMod.version_7(graph, node)


def _erfc(graph: Any, node: Any, name: str, args: Sequence) -> None:
    """Converts `Erfc`, part of GELU, which ONNX lacks, to `1 - Erf`."""
    dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
    erf = graph.make_node("Erf", node.input).output[0]
    graph.remove_node(node.name)
    graph.make_node(
        "Sub", [_constant(graph, dtype, 1), erf], outputs=node.output, name=name, dtypes=[dtype],
        shapes=[shape],
    )  # fmt: skip


def _constant(graph: Any, dtype: int, value: float) -> str:
    """Returns the name of a new scalar."""
    array = np.array(value, utils.map_onnx_to_numpy_type(dtype))
    return graph.make_const(utils.make_name("constant"), array).output[0]


# Operations of TensorFlow that tf2onnx lacks or converts wrongly
OPERATIONS = {
    "Erfc": _erfc,
    "FloorMod": _floor_modulo,
    "XlaDynamicUpdateSlice": _update_slice,
}
