"""Versions of the operations of a file whose types ai-edge-quantizer has changed.

The quantizer leaves the versions that operations of float32 have, so that a runtime that is too old
would fail only when it runs an operation. The versions are those of LiteRT's
tflite/tools/versioning/op_version.cc, the runtimes those of runtime_version.cc.
"""

from ai_edge_litert import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_sparsify

from keras_attention.export.tflite.flatbuffer import (
    builtin_code,
    builtin_operator,
    read_model,
    write_model,
)
from keras_attention.export.tflite.metadata import min_runtime_version, raise_min_runtime_version

INT4_LOOKUP_VERSION, INT4_LOOKUP_RUNTIME = 4, "2.18.0"


def declare_int4_versions(model: schema.ModelT) -> None:
    """Writes the version of EMBEDDING_LOOKUP that reads 4 bits, in place."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if builtin_operator(model, operator) == schema.BuiltinOperator.EMBEDDING_LOOKUP:
                table = graph.tensors[operator.inputs[1]]
                if table.type == schema.TensorType.INT4:
                    model.operatorCodes[operator.opcodeIndex].version = INT4_LOOKUP_VERSION
                    raise_min_runtime_version(model, INT4_LOOKUP_RUNTIME)


def declare_int16_versions(model: schema.ModelT) -> None:
    """Writes the versions that operations of integers of 16 bits have, in place.

    TensorFlow's converter determines the versions whenever it writes a file. Of its passes over a
    file, the one for sparse weights changes the least; only the versions are read from its result.
    It aborts the process on weights of 4 bits.
    """
    written = read_model(mlir_sparsify(write_model(model)))
    versions: dict[int, int] = {}
    for code in written.operatorCodes:
        builtin = builtin_code(code)
        versions[builtin] = max(code.version, versions.get(builtin, 1))
    for code in model.operatorCodes:
        code.version = max(code.version, versions.get(builtin_code(code), 1))
    raise_min_runtime_version(model, min_runtime_version(written))
