"""From ids to answers as a TFLite file of built-in operations, the tokenizers beside it."""

import importlib.metadata
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attention.export.option_signatures import WITH_OPTIONS, add_ids, check_options
from keras_attention.export.saved_model.writer import check_backend
from keras_attention.export.texts import FORMAT
from keras_attention.export.tflite import quantization as quantize
from keras_attention.export.tflite import step_signatures as app_loop
from keras_attention.export.tflite import text_signature as lite_text
from keras_attention.export.tflite.int4 import int4
from keras_attention.export.tflite.metadata import with_metadata
from keras_attention.export.tflite.xnnpack import compute_shapes
from keras_attention.export.verification import compare as proof
from keras_attention.export.verification import quality as score
from keras_attention.export.verification.samples import write_trials
from keras_attention.export.verification.tolerances import SCORE_TOLERANCE, WEIGHTS
from keras_attention.ops import masks
from keras_attention.utils.atomic_io import check_replaceable, replace_folder, write_json

FILE = "model.tflite"


def export_tflite(
    task: Any,
    folder: str | Path,
    sentences: Sequence[str] | None = None,
    weights: str = "float32",
    references: Sequence | None = None,
    allow_loss: bool = False,
    steps: bool = False,
    options: bool = False,
    text: bool = False,
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
    | `"int4"` | four bits for dense layers and embeddings, by ai-edge-quantizer (the extra `int4`) |
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
        options: whether to add the signature `with_options`: as `serving_default`, but it also
            takes the strategy's options as that of a SavedModel does, all of them.
        text: whether to add the signature `text`, from strings in the tokenizer's normal form, or
            pixels, to strings; for translators, captioners and classifiers with `WordPieceTokenizer`. It
            runs where tensorflow-text's operations for TFLite are registered; the others run
            anywhere.

    Returns:
        What `proof.json` says, and `path`, the folder.

    Raises:
        ValueError: if the backend is not TensorFlow, there is no sentence, the folder holds
            something else, `weights`, `steps`, `options` or `text` is not for this model, or there
            is not a reference for each sentence of a file that rounds.
        ImportError: if `"int4"` is asked for and ai-edge-quantizer is not installed.
        ExportError: if the model does not convert, or the file, run by LiteRT, does not say what
            the model says, or says it worse.
    """  # noqa: E501
    check_backend()
    _check(task, sentences, weights, references, {"steps": steps, "options": options})
    if text:
        lite_text.check_task(task)
    folder = Path(folder).absolute()
    check_replaceable(folder, FILE)
    trials = task.trials(sentences)
    batches = proof.batches_of(trials)
    rounded = WEIGHTS[weights].rounded
    with replace_folder(folder) as new:
        said = {"export": "tflite", "format": FORMAT, "gives": task.gives, "weights": weights}
        said = {**said, **task.write_parts(new), **task.about()}
        write_json(new / "export.json", said)
        file = convert(task, weights, batches, steps, options, text)
        (new / FILE).write_bytes(with_metadata(file, type(task).__name__, said))
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
        if options:
            check_options(task, lite.call, timed, lite.tolerance)
        if text:
            lite_text.check(task, new / FILE, timed, received, lite.tolerance)
        write_trials(task, new, trials, received, "serving_default")
        latency = {"model": model_time, "export": export_time}
        runtime = f"LiteRT {importlib.metadata.version('ai-edge-litert')}, built-in operations"
        runtime += "; `text` with tensorflow-text's" if text else ""
        agreement = found.pop("agreement")
        said = proof.report("tflite", runtime, task, batches, agreement, latency, new)
        said = {**said, "weights": weights, **found}
        write_json(new / "proof.json", said)
    return {**said, "path": str(folder)}


def _check(task, sentences, weights, references, generates):
    for name, wanted in generates.items():
        if wanted and not hasattr(task, "strategy"):
            raise ValueError(
                f"{name}: expected of a task that generates. Received: {name}=True for {task!r}"
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
    options: bool = False,
    text: bool = False,
) -> bytes:
    """The TFLite file.

    Args:
        task: what is converted.
        weights: one of `tolerances.WEIGHTS`.
        batches: texts or images from which `"full_int8"` takes the ranges of activations.
        steps: whether with `encode` and `step`.
        options: whether with `with_options`.
        text: whether with `text`.

    Raises:
        ExportError: if an operation is none of TFLite's own.
    """
    graphs = task.graphs()
    archive = keras.export.ExportArchive()
    with tempfile.TemporaryDirectory() as scratch:
        with masks.mask_value_scope(WEIGHTS[weights].mask_value):  # endpoints are traced
            spec = [task.source_spec()]
            added = {
                name: archive.add_endpoint(name, graph.__call__, input_signature=spec)
                for name, graph in graphs.items()
            }
            names = [*added, *(app_loop.add_endpoints(archive, task) if steps else ())]
            if options:
                add_ids(archive, WITH_OPTIONS, task)
                names.append(WITH_OPTIONS)
            if text:
                names.append(lite_text.add_endpoint(archive, task, added["serving_default"]))
            archive.write_out(scratch, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=names)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.allow_custom_ops = text  # without which another operation fails when it is run
        quantize.settings(converter, weights, task, names, batches)
        try:
            file = converter.convert()
        except Exception as error:  # the converter has no public class of errors
            raise proof.ExportError(
                f"Expected a model of TFLite's built-in operations. Received: {error}"
            ) from error
    file = int4(file) if weights == "int4" else file
    # Accelerators of whole numbers want the shapes in the file; XNNPACK is not for them.
    return file if weights == "full_int8" else compute_shapes(file)


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
        return self.call("details" if there else "serving_default", source)

    def call(
        self, signature: str, source: np.ndarray, **options: np.ndarray
    ) -> dict[str, np.ndarray]:
        """A source `(batch, ...)`, and options, to what a signature gives."""
        runner = self.interpreter.get_signature_runner(signature)
        dtype = runner.get_input_details()["source"]["dtype"]
        return runner(source=source.astype(dtype), **options)

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
