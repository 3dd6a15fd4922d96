"""Metadata can be read by LiteRT's tools, and the outputs of the file do not change."""

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from flatbuffers import encode, number_types, table

from helpers import convert, edited, model_inputs
from keras_attention import __version__
from keras_attention.export.tflite.flatbuffer import read_model
from keras_attention.export.tflite.metadata import add_metadata, min_runtime_version

DATES = Path(__file__).parents[3] / "saved_models" / "dates"
# Runtimes of the operations and versions in those files, from the table in LiteRT's
# tflite/tools/versioning/runtime_version.cc.
RUNTIMES = {
    "1.5": "ADD CAST CONCATENATION MUL RESHAPE SOFTMAX SPLIT",
    "1.6": "STRIDED_SLICE SUB",
    "1.10": "SUM",
    "1.11": "LOGICAL_AND ONE_HOT PACK REDUCE_ANY REDUCE_MAX REDUCE_MIN",
    "1.14": "DEQUANTIZE:2 GREATER_EQUAL LESS LOGISTIC LOG_SOFTMAX NOT_EQUAL SELECT TANH",
    "1.15": "GATHER:3 WHILE",
    "2.0": "FULLY_CONNECTED:5",
    "2.1": "SCATTER_ND",
    "2.2": "SELECT_V2",
    "2.3": "BATCH_MATMUL FULLY_CONNECTED:9",
    "2.5": "BROADCAST_TO:2",
    "2.9": "DYNAMIC_UPDATE_SLICE",
}


@pytest.fixture(scope="module")
def label(make_labeler):
    return make_labeler("label", ["a", "b"])


@pytest.fixture(scope="module")
def file(label):
    return convert(label)


def strings(data):
    """Returns the strings of a serialized `ModelMetadata` by field."""
    root = encode.Get(number_types.UOffsetTFlags.packer_type, data, 0)
    read = table.Table(data, root)
    offsets = {field: read.Offset(4 + 2 * field) for field in range(8)}
    return {
        field: read.String(root + offset).decode() for field, offset in offsets.items() if offset
    }


def test_name_version_and_description(file):
    description = {"gives": "text", "labels": ["größer"]}
    model = read_model(file)
    add_metadata(model, "Translator", description)
    entries = {entry.name.decode(): model.buffers[entry.buffer].data for entry in model.metadata}
    data = bytes(entries["TFLITE_METADATA"])
    assert data[4:8] == b"M001"
    name, text, version, min_parser_version = strings(data).values()
    assert (name, version) == ("Translator", f"keras-attention {__version__}")
    assert json.loads(text) == description and min_parser_version == "1.0.0"
    assert len(entries) > 1  # the entries of the converter are still there


def test_outputs_do_not_change(file, label):
    source = model_inputs(label, ["abc", "d"])
    described = edited(file, lambda model: add_metadata(model, "TextClassifier", {}))
    before, after = (
        Interpreter(model_content=each).get_signature_runner("serving_default")(source=source)
        for each in (file, described)
    )
    np.testing.assert_array_equal(before["probabilities"], after["probabilities"])


def test_an_exported_file_is_described_by_its_metadata(label, tmp_path):
    label.export(tmp_path / "new", "tflite", ["abc"])
    model = flatbuffer_utils.read_model(str(tmp_path / "new" / "model.tflite"))
    (entry,) = (x for x in model.metadata if x.name == b"TFLITE_METADATA")
    name, description, *_ = strings(bytes(model.buffers[entry.buffer].data)).values()
    assert name == "TextClassifier"
    assert json.loads(description) == json.loads((tmp_path / "new" / "export.json").read_text())


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_minimum_runtime_is_that_of_the_newest_operation(weights):
    model = flatbuffer_utils.read_model(str(DATES / f"tflite-{weights}" / "model.tflite"))
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    runtime_of = {
        operation if ":" in operation else f"{operation}:1": tuple(map(int, runtime.split(".")))
        for runtime, operations in RUNTIMES.items()
        for operation in operations.split()
    }
    operations = {f"{names[code.builtinCode]}:{code.version}" for code in model.operatorCodes}
    assert f"FULLY_CONNECTED:{9 if weights == 'int8' else 5}" in operations
    newest = max(runtime_of[operation] for operation in operations)
    assert min_runtime_version(model) == "{}.{}.0".format(*newest) == "2.9.0"
