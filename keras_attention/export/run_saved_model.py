"""Runs a SavedModel as a stranger does: TensorFlow and tensorflow-text's operations, no Keras.

It is a script of its own, `python -P run_saved_model.py VERSION BATCHES.json OUTPUTS.json`, so that
nothing of this library is imported. TensorFlow imports Keras where it finds it and goes without
where it does not: here it does not. tensorflow-text's Python needs Keras, its operations do not.
"""

import base64
import importlib.util
import json
import sys
import time
from pathlib import Path

ABSENT = ("keras", "tf_keras", "keras_attention")


def main(version: str, batches: str, outputs: str) -> None:
    """Answers batches of texts, or of bytes, with both signatures, and times single ones.

    Args:
        version: folder of the SavedModel.
        batches: file with a list of lists of texts, or of `{"b64": bytes in base64}`.
        outputs: file to write: what both signatures gave for each batch, the milliseconds of each
            single text, and what was imported.
    """
    for name in ABSENT:
        sys.modules[name] = None  # importing it fails
    import tensorflow as tf

    text = Path(importlib.util.find_spec("tensorflow_text").origin).parent
    for library in sorted(text.glob("python/ops/_*.so")):
        tf.load_op_library(str(library))
    model = tf.saved_model.load(version)  # owns what the signatures read
    best, details = model.signatures["serving_default"], model.signatures["details"]
    given = json.loads(Path(batches).read_text(encoding="utf-8"))
    (name,) = best.structured_input_signature[1]
    given = [{name: tf.constant(list(map(_given, texts)), tf.string)} for texts in given]
    written = {
        "runs": [
            {"best": _plain(best(**inputs)), "details": _plain(details(**inputs))}
            for inputs in given
        ],
        "milliseconds": [_milliseconds(best, inputs) for inputs in given if len(inputs[name]) == 1],
        "imported": sorted({name.split(".")[0] for name, loaded in sys.modules.items() if loaded}),
    }
    Path(outputs).write_text(json.dumps(written), encoding="utf-8")


def _given(text):
    return text if isinstance(text, str) else base64.b64decode(text["b64"])


def _milliseconds(signature, inputs):
    start = time.perf_counter()
    signature(**inputs)
    return 1000 * (time.perf_counter() - start)


def _plain(tensors):
    """Tensors as nested lists of strings and numbers."""
    return {name: _decoded(tensor.numpy().tolist()) for name, tensor in tensors.items()}


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
