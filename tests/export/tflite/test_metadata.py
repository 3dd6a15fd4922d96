"""Metadata is there for LiteRT's tools, and the rest of the file is as it was."""

import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from flatbuffers import encode, number_types, table

from keras_attention import __version__
from keras_attention.export.tflite.metadata import with_metadata
from keras_attention.export.tflite.writer import convert


@pytest.fixture(scope="module")
def label(make_labeler):
    return make_labeler("label", ["a", "b"])


@pytest.fixture(scope="module")
def file(label):
    return convert(label)


def strings(data):
    """The strings of a flatbuffer's table, by their fields: `ModelMetadata` has eight."""
    root = encode.Get(number_types.UOffsetTFlags.packer_type, data, 0)
    read = table.Table(data, root)
    places = {field: read.Offset(4 + 2 * field) for field in range(8)}
    return {field: read.String(root + place).decode() for field, place in places.items() if place}


def test_a_name_a_version_and_a_description(file):
    about = {"gives": "text", "labels": ["größer"]}
    model = flatbuffer_utils.read_model_from_bytearray(
        bytearray(with_metadata(file, "Translator", about))
    )
    entries = {entry.name.decode(): model.buffers[entry.buffer].data for entry in model.metadata}
    data = bytes(entries["TFLITE_METADATA"])
    assert data[4:8] == b"M001"
    name, description, version, parser = strings(data).values()
    assert (name, version) == ("Translator", f"keras-attention {__version__}")
    assert json.loads(description) == about and parser == "1.0.0"
    assert len(entries) > 1  # the converter's own are still there


def test_the_rest_is_as_it_was(file, label):
    source = label.encode(["abc", "d"])
    before, after = (
        Interpreter(model_content=each).get_signature_runner("serving_default")(source=source)
        for each in (file, with_metadata(file, "TextClassifier", {}))
    )
    np.testing.assert_array_equal(before["probabilities"], after["probabilities"])


def test_an_export_says_what_it_is(label, tmp_path):
    label.export(tmp_path / "new", "tflite", ["abc"])
    model = flatbuffer_utils.read_model(str(tmp_path / "new" / "model.tflite"))
    (entry,) = (x for x in model.metadata if x.name == b"TFLITE_METADATA")
    name, description, *_ = strings(bytes(model.buffers[entry.buffer].data)).values()
    assert name == "TextClassifier"
    assert json.loads(description) == json.loads((tmp_path / "new" / "export.json").read_text())
