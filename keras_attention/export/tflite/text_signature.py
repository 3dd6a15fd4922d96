"""Strings in and out of a TFLite file, by the operations that tensorflow-text has for TFLite."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_text.core.pybinds.tflite_registrar import SELECT_TFTEXT_OPS

from keras_attention.export.text_to_label import by_probability
from keras_attention.export.verification.compare import Output, check_same

TEXT = "text"
KINDS = ("text", "caption", "label")


def check_task(task: Any) -> None:
    """Raises a `ValueError` unless the task's tokenizers and answers can be in a TFLite file."""
    tokenizers = task.tokenizers().values()
    if task.gives not in KINDS or not all(each.for_tflite for each in tokenizers):
        raise ValueError(
            f"text: expected a task that gives one of {KINDS}, with tokenizers that TFLite has "
            f"operations for, WordPiece. Received: text=True for one that gives {task.gives!r}, "
            f"with {[type(each).__name__ for each in tokenizers]}"
        )


def add_endpoint(archive: keras.export.ExportArchive, task: Any, run: Callable) -> str:
    """Adds the signature `text` to an archive, and returns its name.

    It takes `text` `(batch,)`, in the tokenizer's normal form, or for a captioner the pixels, and
    gives `text` and `score` `(batch, n)`, or `label` and `probability` `(batch, labels)`, sorted.

    Args:
        archive: gets it.
        task: what is exported.
        run: `serving_default`, which takes ids or pixels.
    """
    reads = task.served_spec() if task.sides[0] == "source" else task.source_spec()

    def answer(given):
        source = given
        if given.dtype == tf.string:
            source = task.source_tokenizer.encode_normal(given, task.max_source_length)  # (B, S)
        found = run(source)
        if task.gives == "label":
            words, scores = by_probability(task.labels, found["probabilities"])
        else:
            words, scores = task.written(source, found["ids"]), found["scores"]
        return dict(zip(_names(task), (words, scores), strict=True))

    for each in task.tokenizers().values():
        archive.track(each)
    archive.add_endpoint(TEXT, answer, input_signature=[reads])
    return TEXT


def check(
    task: Any, file: Path, batches: Sequence[list], expected: Sequence[Output], tolerance: float
) -> None:
    """Runs the signature with tensorflow-text's operations.

    Args:
        task: what was exported.
        file: the TFLite file.
        batches: what it reads, from `proof.batches_of`.
        expected: what the file answered by its other signatures.
        tolerance: relative, of scores.

    Raises:
        ExportError: if it says something else.
    """
    from ai_edge_litert.interpreter import InterpreterWithCustomOps

    interpreter = InterpreterWithCustomOps(SELECT_TFTEXT_OPS, model_path=str(file))
    run = interpreter.get_signature_runner(TEXT)
    (name,) = run.get_input_details()
    for texts, output in zip(batches, expected, strict=True):
        if name == "text":
            given = task.source_tokenizer.normalize(texts).numpy()
        else:
            given = task.encode(texts)
        found, shape = run(**{name: given}), np.shape(output.scores)
        words, scores = (found[each][:, : shape[1]] for each in _names(task))
        said = {"text": [[each.decode("utf-8") for each in row] for row in words], "score": scores}
        wanted = {"text": output.texts, "score": np.asarray(output.scores)}
        check_same(said, wanted, tolerance, f"{TEXT} to say what serving_default says")


def _names(task):
    return ("label", "probability") if task.gives == "label" else ("text", "score")
