"""Weights of reduced precision in ONNX models, by the tools of ONNX Runtime."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

INT8_ACTIVATIONS = 4  # an accuracy level of MatMulNBits
BLOCK_SIZE = 32  # weights that share a scale
# Ends of the names of the converter's casts around operations that stay float32.
FROM_FLOAT16, TO_FLOAT16 = "_cast_to_fp32_node", "_cast_to_fp16_node"


def reduce_precision(model: onnx.ModelProto, weights: str) -> onnx.ModelProto:
    """Returns an ONNX model with weights of another precision.

    Inputs and outputs stay float32.

    Args:
        model: an ONNX model of float32.
        weights: `"float32"`, `"float16"` or `"int8"`.
    """
    return CONVERSIONS[weights](model)


def _to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantizes matrices, with a scale for each block, and embeddings, with one scale."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        file, embedded = str(Path(folder, "model.onnx")), str(Path(folder, "embedded.onnx"))
        onnx.save(model, file)
        # Computes what is constant, such as a transposed matrix, so that it can be quantized.
        quant_pre_process(file, file, skip_symbolic_shape=True)
        # Activations are quantized in blocks of each row, so that a row does not depend on others.
        quantizer = MatMulNBitsQuantizer(
            onnx.load(file),
            bits=8,
            block_size=BLOCK_SIZE,
            is_symmetric=True,
            accuracy_level=INT8_ACTIVATIONS,
        )
        quantizer.process()
        quantize_dynamic(quantizer.model.model, embedded, op_types_to_quantize=["Gather"])
        return onnx.load(embedded)


def _to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    converted = convert_float_to_float16(
        model, keep_io_types=True, node_block_list=_list_float32_nodes(model.graph)
    )
    # The converter also casts between two operations that stay float32, to float16 and back.
    producers = {output: node for node in converted.graph.node for output in node.output}
    for node in converted.graph.node:
        producer = producers.get(node.input[0]) if node.input else None
        if producer is not None and (
            node.name.endswith(FROM_FLOAT16) and producer.name.endswith(TO_FLOAT16)
        ):
            node.input[0] = producer.input[0]
    return converted


def _list_float32_nodes(graph: onnx.GraphProto) -> list[str]:
    """Returns the names of the operations that compute integers and angles, which stay float32.

    float16 has integers up to 2,048 without gaps, and none above 65,504.
    """
    producers = {output: node for node in graph.node for output in node.output}
    pending = [node for node in graph.node if node.op_type in ("Sin", "Cos") or _casts_to_int(node)]
    names = {}
    while pending:
        node = pending.pop()
        # The shape of a tensor does not depend on its precision.
        if node.output[0] not in names and node.op_type != "Shape":
            names[node.output[0]] = node.name
            pending += [producers[name] for name in node.input if name in producers]
    return list(names.values())


def _casts_to_int(node: onnx.NodeProto) -> bool:
    integers = onnx.TensorProto.INT32, onnx.TensorProto.INT64
    return node.op_type == "Cast" and any(
        each.name == "to" and each.i in integers for each in node.attribute
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the log of ONNX Runtime's tools."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)


CONVERSIONS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "float32": lambda model: model,
    "float16": _to_float16,
    "int8": _to_int8,
}
