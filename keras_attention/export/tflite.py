"""Ids to ids as a TFLite file of built-in operations, with the tokenizers beside it."""

import importlib.metadata
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attention.export import proof
from keras_attention.export.saved_model import check_backend
from keras_attention.folders import check_replaceable, replace_folder, write_json
from keras_attention.generation import Generated, Generator

FILE = "model.tflite"
FORMAT = 1


def export_tflite(task: Any, folder: str | Path, sentences: Sequence[str] | None = None) -> dict:
    """Writes `model.tflite`, both tokenizers, `export.json` and `proof.json`.

    | signature | from | gives |
    | --- | --- | --- |
    | `serving_default` | `source` int32 `(batch, source)` | `ids` int32 `(batch, n, length)`, `scores` `(batch, n)` |
    | `details` | the same | also `attention` `(batch, n, length, source)` |

    Batch and source length are free. All operations are TFLite's own, the loop of the generation
    among them, so any TFLite runtime runs the file. Source ids are `source/` tokenizer's ids and
    END, padded with 0, at most `max_source_length` (in `export.json`) of them.

    Args:
        task: has `model`, both tokenizers, `strategy` and `max_source_length`.
        folder: gets the files; an earlier TFLite export there is replaced once the new one is
            proven.
        sentences: texts to prove it on; None makes some from the vocabulary.

    Returns:
        What `proof.json` says, and `path`, the folder.

    Raises:
        ValueError: if the backend is not TensorFlow, there is no sentence, or the folder holds
            something else.
        ExportError: if the model does not convert, or the file, run by LiteRT, does not say what
            the model says.
    """  # noqa: E501
    check_backend()
    folder = Path(folder).absolute()
    check_replaceable(folder, FILE)
    if sentences is None:
        sentences = proof.some_sentences(task.source_tokenizer)
    batches = proof.batches_of(task, sentences)
    with replace_folder(folder) as new:
        (new / FILE).write_bytes(convert(task))
        task.source_tokenizer.save(new / "source")
        task.target_tokenizer.save(new / "target")
        about = {"export": "tflite", "format": FORMAT, "max_source_length": task.max_source_length}
        write_json(new / "export.json", {**about, "strategy": repr(task.strategy)})
        expected, model_time = proof.run_model(task, batches)
        received, export_time = _run(task, new / FILE, batches)
        agreement = proof.compare(expected, received, batches)
        latency = {"model": model_time, "export": export_time}
        runtime = f"LiteRT {importlib.metadata.version('ai-edge-litert')}, built-in operations"
        said = proof.report("tflite", runtime, task, batches, agreement, latency, new)
        write_json(new / "proof.json", said)
    return {**said, "path": str(folder)}


def convert(task: Any) -> bytes:
    """The TFLite file.

    Raises:
        ExportError: if an operation is none of TFLite's own.
    """
    best = Generator(task.model, task.strategy)
    detailed = Generator(task.model, task.strategy, attention=True)
    archive = keras.export.ExportArchive()
    source = [tf.TensorSpec((None, None), tf.int32, name="source")]
    for name, generator in (("serving_default", best), ("details", detailed)):
        archive.add_endpoint(name, generator.__call__, input_signature=source)
    with tempfile.TemporaryDirectory() as scratch:
        archive.write_out(scratch, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            scratch, signature_keys=["serving_default", "details"]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except Exception as error:  # the converter has no public class of errors
            raise proof.ExportError(
                f"Expected a model of TFLite's built-in operations. Received: {error}"
            ) from error


class LiteRT:
    """Runs a file that `export_tflite` wrote.

    Args:
        path: of the `.tflite` file.
    """

    def __init__(self, path: Path):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=str(path))

    def generate(self, source: np.ndarray, attention: bool = False) -> Generated:
        """Source ids `(batch, source)` to `Generated` of NumPy arrays."""
        name = "details" if attention else "serving_default"
        run = self.interpreter.get_signature_runner(name)
        return Generated(**run(source=source.astype("int32")))


def _run(task, path, batches):
    """What the file answers, and its median milliseconds for one text."""
    model = LiteRT(path)
    outputs, spent = [], []
    for texts in batches:
        source = proof.encode(task, texts)
        found = model.generate(source, attention=True)
        best = model.generate(source)
        if not (np.array_equal(best.ids, found.ids) and np.allclose(best.scores, found.scores)):
            raise proof.ExportError(
                f"Expected serving_default to say what details says, {found.ids.tolist()}. "
                f"Received: {best.ids.tolist()}"
            )
        outputs.append(proof.output_of(task, found))
        if len(texts) == 1:
            spent.append(proof.milliseconds(lambda: model.generate(source)))  # noqa: B023
    return outputs, statistics.median(spent)
