"""From ids to answers as a TFLite file of built-in operations, the tokenizers beside it."""

import importlib.metadata
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attention.export import app_loop, proof, quantize, score
from keras_attention.export.int4 import int4
from keras_attention.export.numerics import SCORE_TOLERANCE, WEIGHTS
from keras_attention.export.saved_model import check_backend
from keras_attention.export.texts import FORMAT
from keras_attention.folders import check_replaceable, replace_folder, write_json
from keras_attention.ops import masks

FILE = "model.tflite"


def export_tflite(
    task: Any,
    folder: str | Path,
    sentences: Sequence[str] | None = None,
    weights: str = "float32",
    references: Sequence | None = None,
    allow_loss: bool = False,
    steps: bool = False,
) -> dict:
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

    | `weights` | what it is |
    | --- | --- |
    | `"float32"` | the model's numbers |
    | `"int8"` | dynamic range: a quarter of the size, and faster; the choice for phones |
    | `"float16"` | half the size, computed in float32 |
    | `"int4"` | four bits for dense layers and embeddings, by ai-edge-quantizer (`pip install keras-attention[int4]`) |
    | `"full_int8"` | activations too, for accelerators of whole numbers; no loops, so it is for encoders alone |

    A file of float32 must say what the model says. Others round, so they are scored on a task:
    exact match and BLEU of texts, or the accuracy of labels and tags, beside the model's; and they
    must give the same words in any batch.

    Args:
        task: one of `keras_attention.tasks`.
        folder: gets the files; an earlier TFLite export there is replaced once the new one is
            proven.
        sentences: what to prove it on, texts or images; None makes some. The activations of
            `"full_int8"` get their ranges from them.
        weights: how they are kept.
        references: the right answer to each sentence, by which a file that rounds is scored: a text
            or several, a label, or a list of tags. None takes the model's own answers, which is
            strict: another word is a fault, be it as good.
        allow_loss: whether to write a file that loses more than 1 point of 100, too; `proof.json`
            says so.
        steps: whether to add the signatures `encode` and `step`, for an app that loops itself: to
            show words as they come, or to choose them by its own rules. See `app_loop`.

    Returns:
        What `proof.json` says, and `path`, the folder.

    Raises:
        ValueError: if the backend is not TensorFlow, there is no sentence, the folder holds
            something else, `weights` or `steps` is not for this model, or there is not a reference
            for each sentence of a file that rounds.
        ImportError: if `"int4"` is asked for and ai-edge-quantizer is not installed.
        ExportError: if the model does not convert, or the file, run by LiteRT, does not say what
            the model says, or says it worse.
    """  # noqa: E501
    check_backend()
    _check(task, sentences, weights, references, steps)
    folder = Path(folder).absolute()
    check_replaceable(folder, FILE)
    trials = task.trials(sentences)
    batches = proof.batches_of(trials)
    rounded = WEIGHTS[weights].rounded
    with replace_folder(folder) as new:
        (new / FILE).write_bytes(convert(task, weights, batches, steps))
        said = {"export": "tflite", "format": FORMAT, "gives": task.gives, "weights": weights}
        settings = task.write_parts(new)
        write_json(new / "export.json", {**said, **settings, **task.about()})
        lite = LiteRT(new / FILE, WEIGHTS[weights].signatures)
        timed = proof.batches_of(trials[: proof.BATCH]) if rounded else batches
        expected, model_time = proof.run_ids(task, timed)
        received, export_time = proof.run_ids(task, timed, lite.check_and_run)
        if rounded:
            count = len(trials) if sentences is None else len(sentences)
            found = score.prove(task, lite.run, trials, references, count, allow_loss)
        else:
            found = {"agreement": proof.compare(expected, received, batches)}
        if steps:
            runner = lite.interpreter.get_signature_runner
            found["steps_agreement"] = app_loop.prove(task, runner, timed, rounded)
        latency = {"model": model_time, "export": export_time}
        runtime = f"LiteRT {importlib.metadata.version('ai-edge-litert')}, built-in operations"
        agreement = found.pop("agreement")
        said = proof.report("tflite", runtime, task, batches, agreement, latency, new)
        said = {**said, "weights": weights, **found}
        write_json(new / "proof.json", said)
    return {**said, "path": str(folder)}


def _check(task, sentences, weights, references, steps):
    if steps and not hasattr(task, "strategy"):
        raise ValueError(
            f"steps: expected of a task that generates. Received: steps=True for {task!r}"
        )
    if weights not in WEIGHTS:
        raise ValueError(
            f"weights: expected one of {sorted(WEIGHTS)}. Received: weights={weights!r}"
        )
    if references is not None and not WEIGHTS[weights].rounded:
        raise ValueError(
            "references: expected with weights that are rounded; those of float32 must say what "
            f"the model says. Received: references and weights={weights!r}"
        )
    if references is not None and (sentences is None or len(references) != len(sentences)):
        raise ValueError(
            "references: expected one for each sentence. Received: "
            f"{len(references)} references, {len(sentences or [])} sentences"
        )
    if weights == "full_int8" and quantize.has_loop(task):
        raise ValueError(
            "weights: expected others than 'full_int8' for a model with a loop, such as generation "
            "or an RNN: TFLite takes the ranges of activations outside of loops alone, and the "
            f"file would give wrong answers. Received: weights='full_int8' for {task.model!r}"
        )


def convert(
    task: Any,
    weights: str = "float32",
    batches: Sequence[list] = (),
    steps: bool = False,
) -> bytes:
    """The TFLite file.

    Args:
        task: what is converted.
        weights: one of `numerics.WEIGHTS`.
        batches: texts or images from which `"full_int8"` takes the ranges of activations.
        steps: whether with `encode` and `step`.

    Raises:
        ExportError: if an operation is none of TFLite's own.
    """
    graphs = task.graphs()
    archive = keras.export.ExportArchive()
    with tempfile.TemporaryDirectory() as scratch:
        with masks.lowest_is(WEIGHTS[weights].lowest):  # endpoints are traced
            for name, graph in graphs.items():
                archive.add_endpoint(name, graph.__call__, input_signature=[task.source_spec()])
            names = [*graphs, *(app_loop.add_endpoints(archive, task) if steps else ())]
            archive.write_out(scratch, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=names)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        quantize.settings(converter, weights, task, names, batches)
        try:
            file = converter.convert()
        except Exception as error:  # the converter has no public class of errors
            raise proof.ExportError(
                f"Expected a model of TFLite's built-in operations. Received: {error}"
            ) from error
    return int4(file) if weights == "int4" else file


class LiteRT:
    """Runs a file that `export_tflite` wrote.

    Args:
        path: of the `.tflite` file.
        tolerance: how far two signatures may be apart, relative.
    """

    def __init__(self, path: Path, tolerance: float = SCORE_TOLERANCE):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=str(path))
        self.tolerance = tolerance

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
        proof.check_same(self.run(source), found, self.tolerance)
        return found
