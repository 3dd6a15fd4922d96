"""Text to text as a SavedModel, in TF Serving's layout."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attention.export import proof, run_saved_model
from keras_attention.folders import write_json
from keras_attention.generation import Generator
from keras_attention.ops.ids import PAD


def export_saved_model(
    task: Any, folder: str | Path, sentences: Sequence[str] | None = None
) -> dict:
    """Writes the next version of a SavedModel: `folder/1/`, `folder/2/` and so on.

    | signature | from | gives |
    | --- | --- | --- |
    | `serving_default` | `text` `(batch,)` | `text` `(batch,)`, `score` `(batch,)`: the best answer |
    | `details` | `text` `(batch,)` | `text` and `score` `(batch, n)`, `source_tokens` `(batch, source)`, `target_tokens` `(batch, n, length)` and `attention` `(batch, n, length, source)` |

    Tokens are strings, padded with empty ones. The version is written and proven under another
    name and renamed when all is well: TF Serving never sees half of it.

    Args:
        task: has `model`, both tokenizers, `strategy` and `max_source_length`.
        folder: TF Serving's base path. Versions in it stay.
        sentences: texts to prove it on; None makes some from the vocabulary.

    Returns:
        What `proof.json` in the version's folder says, and `path`, the version's folder.

    Raises:
        ValueError: if the backend is not TensorFlow, there is no sentence, or the folder is a
            file or a saved task's.
        ExportError: if the SavedModel, run without Keras, does not say what the model says.
    """  # noqa: E501
    check_backend()
    folder = Path(folder).absolute()
    if sentences is None:
        sentences = proof.some_sentences(task.source_tokenizer)
    batches = proof.batches_of(task, sentences)
    with _new_version(folder) as (version, finish):
        write_saved_model(task, version)
        expected, model_time = proof.run_model(task, batches)
        received, export_time = _run(version, batches)
        agreement = proof.compare(_named(task, expected), received, batches)
        latency = {"model": model_time, "export": export_time}
        said = proof.report(
            "saved_model",
            "TensorFlow and tensorflow-text, without Keras, in a process of its own",
            task,
            batches,
            agreement,
            latency,
            version,
        )
        write_json(version / "proof.json", said)
        return {**said, "path": str(finish())}


def check_backend() -> None:
    """Raises a `ValueError` unless Keras runs on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Expected Keras on TensorFlow, which writes the exports: load the saved task with "
            f"KERAS_BACKEND=tensorflow. Received: KERAS_BACKEND={keras.backend.backend()}"
        )


def write_saved_model(task: Any, folder: Path) -> None:
    """Traces both signatures and writes them."""
    best = Generator(task.model, task.strategy)
    detailed = Generator(task.model, task.strategy, attention=True)
    names = tf.constant(["", *task.target_tokenizer.vocabulary[1:]])  # PAD has no name
    source_names = tf.constant(["", *task.source_tokenizer.vocabulary[1:]])

    def encode(text):
        source = task.source_tokenizer.encode(text, task.max_source_length)
        missing = tf.cast(tf.shape(source)[1] == 0, "int32")  # an empty batch has no columns
        return tf.pad(source, [[0, 0], [0, missing]], constant_values=PAD)  # (B, S)

    def write(ids):  # (B, N, L) -> (B, N)
        flat = tf.reshape(ids, (-1, ids.shape[-1]))
        return tf.reshape(task.target_tokenizer.detokenize(flat), tf.shape(ids)[:2])

    def serve(text):
        found = best(encode(text))
        return {"text": write(found["ids"][:, :1])[:, 0], "score": found["scores"][:, 0]}

    def details(text):
        source = encode(text)
        found = detailed(source)
        return {
            "text": write(found["ids"]),
            "score": found["scores"],
            "source_tokens": tf.gather(source_names, source),
            "target_tokens": tf.gather(names, found["ids"]),
            "attention": tf.cast(found["attention"], "float32"),
        }

    archive = keras.export.ExportArchive()
    # The weights are tracked by their use in the endpoints; tracking the model writes them twice.
    archive.track(task.source_tokenizer)
    archive.track(task.target_tokenizer)
    text = [tf.TensorSpec((None,), tf.string, name="text")]
    archive.add_endpoint("serving_default", serve, input_signature=text)
    archive.add_endpoint("details", details, input_signature=text)
    archive.write_out(str(folder), verbose=False)


@contextlib.contextmanager
def _new_version(folder):
    """Gives a folder to fill, and a function that gives it the next free number."""
    if (folder / "task.json").exists():  # the next `save` would replace the versions with it
        raise ValueError(
            "folder: expected TF Serving's base path, new or with earlier versions. "
            f"Received: {str(folder)!r}, where a task is saved"
        )
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ValueError(f"folder: expected a folder. Received: {str(folder)!r}, a file") from None
    new = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))  # no number: not a version

    def finish():
        new.chmod(0o755)
        while True:
            version = folder / str(max([0, *versions(folder)]) + 1)
            try:
                os.rename(new, version)
                return version
            except OSError:
                if not version.exists():  # else another export took the number: the next one
                    raise

    try:
        yield new, finish
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def versions(folder: Path) -> list[int]:
    """The numbers of the versions in TF Serving's base path."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def _run(version, batches):
    """What the SavedModel answers in a process without Keras, and its median milliseconds."""
    with tempfile.TemporaryDirectory() as scratch:
        given, written = Path(scratch, "batches.json"), Path(scratch, "outputs.json")
        given.write_text(json.dumps([*batches, []]), encoding="utf-8")
        command = [sys.executable, "-P", run_saved_model.__file__, version, given, written]
        ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        if ran.returncode:
            raise proof.ExportError(
                "Expected a SavedModel that runs in a process without Keras. "
                f"Received: exit status {ran.returncode}, {ran.stderr[-2000:]}"
            )
        outputs = json.loads(written.read_text(encoding="utf-8"))
    found = {*run_saved_model.ABSENT} & set(outputs["imported"])
    if found:
        raise proof.ExportError(
            f"Expected a SavedModel that runs without Keras. Received: it imported {found}"
        )
    *runs, empty = [_output(run) for run in outputs["runs"]]
    if empty.texts:
        raise proof.ExportError(
            f"Expected no answer to an empty batch. Received: {empty.texts} answers"
        )
    return runs, statistics.median(outputs["milliseconds"])


def _output(run):
    best, details = run["best"], run["details"]
    first = [texts[0] for texts in details["text"]], [scores[0] for scores in details["score"]]
    if first[0] != best["text"] or not np.allclose(first[1], best["score"], rtol=1e-4):
        raise proof.ExportError(
            f"Expected serving_default to say what details says, {first}. "
            f"Received: {best['text']} with {best['score']}"
        )
    return proof.Output(
        details["text"], details["target_tokens"], details["score"], details["attention"]
    )


def _named(task, outputs):
    """Ids as the names that `details` gives them."""
    names = np.array(["", *task.target_tokenizer.vocabulary[1:]])
    return [output._replace(tokens=names[output.tokens]) for output in outputs]
