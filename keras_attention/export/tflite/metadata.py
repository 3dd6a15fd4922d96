"""TFLite's metadata: what a file is, for LiteRT's tools and for Netron.

The schema is `metadata_schema.fbs` of tflite-support, of which this writes the table
`ModelMetadata`: https://ai.google.dev/edge/litert/conversion/tensorflow/metadata.
"""

import json

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from keras_attention import __version__

ENTRY, IDENTIFIER = "TFLITE_METADATA", b"M001"
FIELDS = 8  # of ModelMetadata
NAME, DESCRIPTION, VERSION = 0, 1, 2
MIN_PARSER_VERSION = 7


def with_metadata(file: bytes, name: str, about: dict) -> bytes:
    """A TFLite file with a name, this library's version, and as its description JSON.

    Args:
        file: without metadata.
        name: what it is.
        about: what JSON can say.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    description = json.dumps(about, ensure_ascii=False)
    buffer.data = np.frombuffer(_model_metadata(name, description), "uint8")
    entry.name, entry.buffer = ENTRY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _model_metadata(name, description):
    builder = flatbuffers.Builder()
    strings = {
        NAME: name,
        DESCRIPTION: description,
        VERSION: f"keras-attention {__version__}",
        MIN_PARSER_VERSION: "1.0.0",
    }
    places = {field: builder.CreateString(text) for field, text in strings.items()}
    builder.StartObject(FIELDS)
    for field, place in places.items():
        builder.PrependUOffsetTRelativeSlot(field, place, 0)
    builder.Finish(builder.EndObject(), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
