"""A SavedModel, run through TensorFlow's C API, must say what the model says."""

import base64
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_attention.export import run_saved_model
from keras_attention.export.proof import ExportError, Output, check_same

IDS = {"serving_default": "ids", "details": "ids_details"}  # signatures on ids, by their graph


class Received(NamedTuple):
    """What a SavedModel answered.

    Attributes:
        ids: to ids, an `Output` for each batch.
        texts: to texts, or None where its signatures take ids alone.
        first: what the first signature gave for the first batch, as it is served.
        milliseconds: median for one text, by the first signature.
        operations: names of the operations in the graph that are not TensorFlow's own.
        signatures: inputs and outputs by name: the name in the graph, dtype and shape.
    """

    ids: list[Output]
    texts: list[Output] | None
    first: dict
    milliseconds: float
    operations: list[str]
    signatures: dict[str, list[dict[str, list]]]


def run(task: Any, version: Path, batches: list[list], tokenizer: bool) -> Received:
    """Runs all signatures on all batches in a process without Python's TensorFlow.

    Args:
        task: what was exported.
        version: the SavedModel.
        batches: from `proof.batches_of`.
        tokenizer: whether it has signatures that take text.

    Raises:
        ExportError: if it does not run, or its signatures do not say the same.
    """
    names = [IDS[name] for name in task.graphs()]
    sources = [task.encode(texts) for texts in batches]
    timed = "serving_default" if tokenizer else "ids"
    calls = [_call(name, "source", ids, timed) for ids in sources for name in names]
    if tokenizer:
        given = [*batches, []] if task.may_be_empty else batches
        texts = [_call(name, task.served_input, each, timed) for each in given for name in IDS]
        calls = texts + calls
    answered = _answers(version, calls, tokenizer)
    outputs = answered["outputs"]
    first, texts = outputs[0], None
    if tokenizer:
        texts = [_text_output(task, *outputs[i : i + 2]) for i in range(0, 2 * len(given), 2)]
        outputs = outputs[2 * len(given) :]
        if task.may_be_empty and (empty := texts.pop()).texts:
            raise ExportError(
                f"Expected no answer to an empty batch. Received: {empty.texts} answers"
            )
    found = [outputs[i : i + len(names)] for i in range(0, len(outputs), len(names))]
    ids = [_ids_output(task, *each) for each in zip(sources, found, strict=True)]
    spent = statistics.median(answered["milliseconds"])
    return Received(ids, texts, first, spent, answered["operations"], answered["signatures"])


def _call(signature, name, rows, timed):
    return {
        "signature": signature,
        "inputs": {name: rows},
        "timed": signature == timed and len(rows) == 1,
    }


def _answers(version, calls, tokenizer):
    """What `run_saved_model` writes, run in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        given, written = Path(scratch, "calls.json"), Path(scratch, "answers.json")
        given.write_text(json.dumps(calls, default=plain), encoding="utf-8")
        command = [sys.executable, "-P", run_saved_model.__file__, version, given, written]
        command += [] if tokenizer else ["--no-libraries"]
        ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        if ran.returncode:
            raise ExportError(
                "Expected a SavedModel that runs without Python's TensorFlow. "
                f"Received: exit status {ran.returncode}, {ran.stderr[-2000:]}"
            )
        answers = json.loads(written.read_text(encoding="utf-8"))
    found = {*run_saved_model.ABSENT} & set(answers["imported"])
    if found:
        raise ExportError(
            "Expected a SavedModel that runs without Python's TensorFlow. "
            f"Received: it imported {found}"
        )
    return answers


def plain(value: bytes | np.ndarray) -> Any:
    """What JSON does not know, as TF Serving's REST takes it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return {"b64": base64.b64encode(value).decode("ascii")}


def _ids_output(task, source, found):
    best, *details = ({name: _array(x) for name, x in each.items()} for each in found)
    for each in details:
        check_same(best, each)
    return task.output(source, (details or [best])[0])


def _array(values):
    array = np.asarray(values)
    return array.astype("int32" if array.dtype.kind == "i" else "float32")


def _text_output(task, best, details):
    check_same(best, task.best(details))
    return task.served_output(details)
