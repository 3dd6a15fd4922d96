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

from keras_attention.export.option_signatures import IDS_WITH_OPTIONS, WITH_OPTIONS
from keras_attention.export.saved_model import c_api_script as run_saved_model
from keras_attention.export.verification.compare import ExportError, Output, check_same

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
    names, text_names = signatures(task)
    sources = [task.encode(texts) for texts in batches]
    timed = "serving_default" if tokenizer else "ids"
    calls = [_call(task, name, "source", ids, timed) for ids in sources for name in names]
    if tokenizer:
        given = [*batches, []] if task.may_be_empty else batches
        inputs = [(name, task.served_input, each) for each in given for name in text_names]
        calls = [_call(task, *each, timed) for each in inputs] + calls
    answered = answers(version, calls, tokenizer)
    outputs = answered["outputs"]
    first, texts = outputs[0], None
    if tokenizer:
        found = _groups(outputs[: len(inputs)], len(text_names))
        texts = [_text_output(task, *each) for each in found]
        outputs = outputs[len(inputs) :]
        if task.may_be_empty and (empty := texts.pop()).texts:
            raise ExportError(
                f"Expected no answer to an empty batch. Received: {empty.texts} answers"
            )
    found = _groups(outputs, len(names))
    ids = [_ids_output(task, *each) for each in zip(sources, found, strict=True)]
    spent = statistics.median(answered["milliseconds"])
    return Received(ids, texts, first, spent, answered["operations"], answered["signatures"])


def signatures(task: Any) -> tuple[list[str], list[str]]:
    """The names of those that take ids, and of those that take texts; the first is the default."""
    ids, texts = [IDS[name] for name in task.graphs()], list(IDS)
    if hasattr(task, "strategy"):
        return [*ids, IDS_WITH_OPTIONS], [*texts, WITH_OPTIONS]
    return ids, texts


def _groups(outputs, size):
    return [outputs[i : i + size] for i in range(0, len(outputs), size)]


def _call(task, signature, name, rows, timed):
    options = {}
    if signature in (WITH_OPTIONS, IDS_WITH_OPTIONS) and len(rows) != 1:  # one row takes defaults
        options = task.strategy.options(len(rows))
    return {
        "signature": signature,
        "inputs": {name: rows, **options},
        "timed": signature == timed and len(rows) == 1,
    }


def answers(version: Path, calls: list[dict], tokenizer: bool) -> dict:
    """What `run_saved_model` writes, run in a process of its own.

    Args:
        version: the SavedModel.
        calls: as `run_saved_model` takes them.
        tokenizer: whether tensorflow-text's operations are needed.

    Raises:
        ExportError: if it fails, or Python's TensorFlow was there.
    """
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
        answered = json.loads(written.read_text(encoding="utf-8"))
    found = {*run_saved_model.BLOCKED_MODULES} & set(answered["imported"])
    if found:
        raise ExportError(
            "Expected a SavedModel that runs without Python's TensorFlow. "
            f"Received: it imported {found}"
        )
    return answered


def plain(value: bytes | np.ndarray) -> Any:
    """What JSON does not know, as TF Serving's REST takes it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return {"b64": base64.b64encode(value).decode("ascii")}


def _ids_output(task, source, found):
    best, *details = map(arrays, found)
    for each in details:
        check_same(best, each)
    return task.output(source, (details or [best])[0])


def arrays(output: dict[str, list]) -> dict[str, np.ndarray]:
    """Numbers from JSON as the model has them."""
    found = {name: np.asarray(values) for name, values in output.items()}
    return {
        name: x.astype("int32" if x.dtype.kind == "i" else "float32") for name, x in found.items()
    }


def _text_output(task, best, details, *with_options):
    check_same(best, task.best(details))
    for each in with_options:
        check_same(each, details, wanted=f"{WITH_OPTIONS} to say what details says")
    return task.served_output(details)
