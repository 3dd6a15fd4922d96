"""Metadata can be read by LiteRT's tools, and the outputs of the file do not change."""

import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from flatbuffers import encode, number_types, table

from helpers import convert, model_inputs
from keras_attention import __version__
from keras_attention.export.tflite.flatbuffer import read_model
from keras_attention.export.tflite.metadata import add_metadata


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
    model = read_model(add_metadata(file, "Translator", description))
    entries = {entry.name.decode(): model.buffers[entry.buffer].data for entry in model.metadata}
    data = bytes(entries["TFLITE_METADATA"])
    assert data[4:8] == b"M001"
    name, text, version, min_parser_version = strings(data).values()
    assert (name, version) == ("Translator", f"keras-attention {__version__}")
    assert json.loads(text) == description and min_parser_version == "1.0.0"
    assert len(entries) > 1  # the entries of the converter are still there


def test_outputs_do_not_change(file, label):
    source = model_inputs(label, ["abc", "d"])
    before, after = (
        Interpreter(model_content=each).get_signature_runner("serving_default")(source=source)
        for each in (file, add_metadata(file, "TextClassifier", {}))
    )
    np.testing.assert_array_equal(before["probabilities"], after["probabilities"])


def test_an_exported_file_is_described_by_its_metadata(label, tmp_path):
    label.export(tmp_path / "new", "tflite", ["abc"])
    model = flatbuffer_utils.read_model(str(tmp_path / "new" / "model.tflite"))
    (entry,) = (x for x in model.metadata if x.name == b"TFLITE_METADATA")
    name, description, *_ = strings(bytes(model.buffers[entry.buffer].data)).values()
    assert name == "TextClassifier"
    assert json.loads(description) == json.loads((tmp_path / "new" / "export.json").read_text())
