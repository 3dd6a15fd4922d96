"""From ids to answers as a TFLite file of built-in operations, the tokenizers beside it."""

import importlib.metadata
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attention.export import proof
from keras_attention.export.saved_model import check_backend
from keras_attention.export.texts import FORMAT
from keras_attention.folders import check_replaceable, replace_folder, write_json

FILE = "model.tflite"


def export_tflite(task: Any, folder: str | Path, sentences: Sequence[str] | None = None) -> dict:
    """Writes `model.tflite`, the tokenizers, `export.json` and `proof.json`.

    All signatures take `source`, int32 `(batch, source)`, or for a captioner the pixels, uint8
    `(batch, height, width, 3)`. What they give, by the kind of task:

    | signature | text, or an image, to text |
    | --- | --- |
    | `serving_default` | `ids` int32 `(batch, n, length)`, `scores` `(batch, n)` |
    | `details` | also `attention` `(batch, n, length, source)`; of an image, of its cells by row |

    | signature | text to a label |
    | --- | --- |
    | `serving_default` | `probabilities` `(batch, labels)`, in the order of `labels` in `export.json` |

    | signature | text to tags |
    | --- | --- |
    | `serving_default` | `probabilities` `(batch, source, tags)`, in the same order |

    Batch and source length are free. All operations are TFLite's own, the loop of a generation
    among them, so any TFLite runtime runs the file. Source ids are `source/` tokenizer's ids and
    END, padded with 0, at most `max_source_length` (in `export.json`) of them.

    Args:
        task: one of `keras_attention.tasks`.
        folder: gets the files; an earlier TFLite export there is replaced once the new one is
            proven.
        sentences: what to prove it on, texts or images; None makes some.

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
    batches = proof.batches_of(task.trials(sentences))
    with replace_folder(folder) as new:
        (new / FILE).write_bytes(convert(task))
        said = {"export": "tflite", "format": FORMAT, "gives": task.gives}
        settings = task.write_parts(new)
        write_json(new / "export.json", {**said, **settings, **task.about()})
        expected, model_time = proof.run_ids(task, batches)
        received, export_time = proof.run_ids(task, batches, LiteRT(new / FILE).check_and_run)
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
    graphs = task.graphs()
    archive = keras.export.ExportArchive()
    for name, graph in graphs.items():
        archive.add_endpoint(name, graph.__call__, input_signature=[task.source_spec()])
    with tempfile.TemporaryDirectory() as scratch:
        archive.write_out(scratch, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=list(graphs))
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

    def run(self, source: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """A source `(batch, ...)` to what `serving_default` gives, or `details`."""
        there = details and "details" in self.interpreter.get_signature_list()
        runner = self.interpreter.get_signature_runner("details" if there else "serving_default")
        return runner(source=source.astype(runner.get_input_details()["source"]["dtype"]))

    def check_and_run(self, source: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """As `run`, and with details both signatures must say the same.

        Raises:
            ExportError: if they do not.
        """
        found = self.run(source, details)
        if not details:
            return found
        proof.check_same(self.run(source), found)
        return found
