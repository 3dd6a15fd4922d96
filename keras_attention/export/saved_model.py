"""From text to answers as a SavedModel, in TF Serving's layout."""

import base64
import contextlib
import functools
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


def export_saved_model(
    task: Any, folder: str | Path, sentences: Sequence[str] | None = None
) -> dict:
    """Writes the next version of a SavedModel: `folder/1/`, `folder/2/` and so on.

    Both signatures take `text` `(batch,)`, or for a captioner `image_bytes` `(batch,)`, the bytes of
    JPEG or PNG files. What they give, by the kind of task:

    | signature | text to text |
    | --- | --- |
    | `serving_default` | `text` and `score` `(batch,)`: the best answer |
    | `details` | `text` and `score` `(batch, n)`, `source_tokens` `(batch, source)`, `target_tokens` `(batch, n, length)` and `attention` `(batch, n, length, source)` |

    | signature | image to text |
    | --- | --- |
    | `serving_default` | `text` and `score` `(batch,)`: the best answer |
    | `details` | `text` and `score` `(batch, n)`, `target_tokens` `(batch, n, length)` and `attention` `(batch, n, length, rows, columns)` |

    | signature | text to a label |
    | --- | --- |
    | `serving_default` | `label` and `probability` `(batch,)`: the most probable one |
    | `details` | `label` and `probability` `(batch, labels)`, sorted, and `source_tokens` `(batch, source)` |

    | signature | text to tags |
    | --- | --- |
    | `serving_default` | `word`, `tag` and `probability` `(batch, words)` |
    | `details` | `source_tokens` and bool `begins_word` `(batch, source)`; `tag` and `probability` `(batch, source, tags)`, sorted |

    Tokens are strings, padded with empty ones. The version is written and proven under another
    name and renamed when all is well: TF Serving never sees half of it.

    Args:
        task: one of `keras_attention.tasks`.
        folder: TF Serving's base path. Versions in it stay.
        sentences: what to prove it on, texts or images; None makes some.

    Returns:
        What `proof.json` in the version's folder says, and `path`, the version's folder.

    Raises:
        ValueError: if the backend is not TensorFlow, there is no sentence, or the folder is a
            file or a saved task's.
        ExportError: if the SavedModel, run by TensorFlow's C API, does not say what the model says.
    """  # noqa: E501
    check_backend()
    folder = Path(folder).absolute()
    batches = proof.batches_of(task.trials(sentences))
    with _new_version(folder) as (version, finish):
        write_saved_model(task, version)
        expected, model_time = proof.run_ids(task, batches)
        received, export_time = _run(task, version, batches)
        agreement = proof.compare(expected, received, batches)
        latency = {"model": model_time, "export": export_time}
        said = proof.report(
            "saved_model",
            "TensorFlow's C API and tensorflow-text's operations, without Python's TensorFlow",
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
    archive = keras.export.ExportArchive()
    # The weights are tracked by their use in the endpoints; tracking the model writes them twice.
    for tokenizer in task.tokenizers().values():
        archive.track(tokenizer)
    given = [tf.TensorSpec((None,), tf.string, name=task.served_input)]
    for name, endpoint in task.served(task.graphs()).items():
        archive.add_endpoint(name, endpoint, input_signature=given)
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


def _run(task, version, batches):
    """What the SavedModel answers through the C API, and its median milliseconds."""
    batches = [*batches, []] if task.may_be_empty else batches
    calls = [
        {
            "signature": signature,
            "inputs": {task.served_input: texts},
            "timed": signature == "serving_default" and len(texts) == 1,
        }
        for texts in batches
        for signature in ("serving_default", "details")
    ]
    answered = _answers(version, calls)
    outputs = answered["outputs"]
    runs = list(map(functools.partial(_output, task), outputs[::2], outputs[1::2]))
    if task.may_be_empty and (empty := runs.pop()).texts:
        raise proof.ExportError(
            f"Expected no answer to an empty batch. Received: {empty.texts} answers"
        )
    return runs, statistics.median(answered["milliseconds"])


def _answers(version, calls):
    """What `run_saved_model` writes, run in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        given, written = Path(scratch, "calls.json"), Path(scratch, "answers.json")
        given.write_text(json.dumps(calls, default=_base64), encoding="utf-8")
        command = [sys.executable, "-P", run_saved_model.__file__, version, given, written]
        ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        if ran.returncode:
            raise proof.ExportError(
                "Expected a SavedModel that runs without Python's TensorFlow. "
                f"Received: exit status {ran.returncode}, {ran.stderr[-2000:]}"
            )
        answers = json.loads(written.read_text(encoding="utf-8"))
    found = {*run_saved_model.ABSENT} & set(answers["imported"])
    if found:
        raise proof.ExportError(
            "Expected a SavedModel that runs without Python's TensorFlow. "
            f"Received: it imported {found}"
        )
    return answers


def _base64(data: bytes) -> dict:
    """Bytes in JSON, as TF Serving's REST takes them."""
    return {"b64": base64.b64encode(data).decode("ascii")}


def _output(task, best, details):
    expected = task.best(details)
    for name, values in expected.items():
        if not _same(best[name], values):
            raise proof.ExportError(
                f"Expected serving_default to say what details says, {values}. "
                f"Received: {best[name]}"
            )
    return task.served_output(details)


def _same(received, expected):
    received, expected = np.asarray(received), np.asarray(expected)
    if received.shape != expected.shape or received.dtype.kind == "U":
        return np.array_equal(received, expected)
    return np.allclose(received, expected, rtol=1e-4)
