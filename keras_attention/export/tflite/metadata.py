"""Metadata of a TFLite file, which LiteRT's tools and Netron show.

The format is the table `ModelMetadata` of tflite-support's `metadata_schema.fbs`:
https://ai.google.dev/edge/litert/conversion/tensorflow/metadata.
"""

import json
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_attention import __version__

ENTRY_NAME, FILE_IDENTIFIER = b"TFLITE_METADATA", b"M001"
RUNTIME_ENTRY, RUNTIME_BYTES = b"min_runtime_version", 16
# Fields of ModelMetadata
NUM_FIELDS = 8
NAME, DESCRIPTION, VERSION = 0, 1, 2
MIN_PARSER_VERSION = 7


def add_metadata(model: schema.ModelT, name: str, description: dict[str, Any]) -> None:
    """Adds a name, the library's version and a description to a model, in place.

    Args:
        model: the model, without this metadata.
        name: name of the model.
        description: is written as JSON.
    """
    buffer, entry = schema.BufferT(), schema.MetadataT()
    text = json.dumps(description, ensure_ascii=False)
    buffer.data = np.frombuffer(_model_metadata(name, text), "uint8")
    entry.name, entry.buffer = ENTRY_NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]


def min_runtime_version(model: schema.ModelT) -> str:
    """Returns the oldest TensorFlow Lite runtime that has the versions of all operations.

    TensorFlow's converter writes it from the table in tflite/tools/versioning/runtime_version.cc.
    """
    return bytes(_runtime_buffer(model).data).rstrip(b"\0").decode("ascii")


def raise_min_runtime_version(model: schema.ModelT, version: str) -> None:
    """Writes a minimum runtime version if it is greater than that of the model."""
    if _numbers(version) > _numbers(min_runtime_version(model)):
        text = version.encode("ascii").ljust(RUNTIME_BYTES, b"\0")
        _runtime_buffer(model).data = np.frombuffer(text, "uint8")


def _runtime_buffer(model):
    (entry,) = (each for each in model.metadata if each.name == RUNTIME_ENTRY)
    return model.buffers[entry.buffer]


def _numbers(version):
    return tuple(map(int, version.split(".")))


def _model_metadata(name: str, description: str) -> bytes:
    """Serializes a `ModelMetadata`."""
    builder = flatbuffers.Builder()
    strings = {
        NAME: name,
        DESCRIPTION: description,
        VERSION: f"keras-attention {__version__}",
        MIN_PARSER_VERSION: "1.0.0",
    }
    offsets = {field: builder.CreateString(text) for field, text in strings.items()}
    builder.StartObject(NUM_FIELDS)
    for field, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    builder.Finish(builder.EndObject(), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())
