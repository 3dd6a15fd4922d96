"""Verification of a SavedModel: run through TensorFlow's C API, it must agree with the model."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_attention.export.saved_model import c_api_script
from keras_attention.export.signatures import Exportable, Signature
from keras_attention.export.verification.compare import (
    ExportError,
    check_consistent,
    compare,
    predictions_of_model,
)
from keras_attention.export.verification.samples import to_json
from keras_attention.export.verification.tolerances import SCORE_TOLERANCE
from keras_attention.types import Batch


class Verification(NamedTuple):
    """Outputs of a SavedModel and their agreement with the model.

    Attributes:
        outputs: for each batch, the outputs by signature.
        agreement: by the name of the signature that was compared with the model, from `compare`.
        latency: median milliseconds for one sample, of the model and of the export.
        operations: names of the operations in the graph that are not TensorFlow's own.
        signatures: inputs, outputs and default values by signature.
    """

    outputs: list[dict[str, dict[str, np.ndarray | list]]]
    agreement: dict[str, dict[str, Any]]
    latency: dict[str, float]
    operations: list[str]
    signatures: dict[str, tuple]


def verify_saved_model(
    exportable: Exportable, version: Path, batches: Sequence[list]
) -> Verification:
    """Runs all signatures on all batches in a process without Python's TensorFlow, and compares.

    Args:
        exportable: what was exported.
        version: folder of the SavedModel.
        batches: samples.

    Raises:
        ExportError: If the SavedModel does not run, or disagrees with the model or with itself.
    """
    signatures = exportable.signatures
    encoded = [exportable.encode(samples) for samples in batches]
    calls = [
        _call(exportable, signature, samples, batch)
        for samples, batch in zip(batches, encoded, strict=True)
        for signature in signatures
    ]
    raw = [each for each in signatures if exportable.input_name in each.input_spec]
    if exportable.allows_empty_batch:
        calls += [_empty_call(exportable, signature) for signature in raw]
    ran = run_calls(version, calls, any(each.text_operations for each in signatures))
    all_outputs = iter([_as_arrays(outputs) for outputs in ran["outputs"]])
    outputs = [{signature.name: next(all_outputs) for signature in signatures} for _ in batches]
    for signature, empty in zip(raw, all_outputs, strict=False):
        if any(len(values) for values in empty.values()):
            raise ExportError(
                f"`{signature.name}` must return nothing for an empty batch. Received: {empty}"
            )
    for each, batch in zip(outputs, encoded, strict=True):
        check_consistent(signatures, each, batch, SCORE_TOLERANCE)
    compared = [each for each in signatures if each.comparison.predictions]
    received = {}
    for signature in reversed(compared):  # ids first: their errors are easier to understand
        to_predictions = signature.comparison.predictions
        assert to_predictions is not None  # by the choice of `compared`
        received[signature.name] = [
            to_predictions(each[signature.name], batch)
            for each, batch in zip(outputs, encoded, strict=True)
        ]
    all_received = sum(received.values(), [])
    expected, model_time = predictions_of_model(exportable, compared[-1], encoded, all_received)
    agreement = {name: compare(expected, each, batches) for name, each in received.items()}
    latency = {"model": model_time, "export": statistics.median(ran["milliseconds"])}
    return Verification(outputs, agreement, latency, ran["operations"], ran["signatures"])


def run_calls(version: Path, calls: Sequence[dict], text_operations: bool) -> dict[str, Any]:
    """Runs `c_api_script` in a process of its own.

    Args:
        version: folder of the SavedModel.
        calls: as `c_api_script` takes them.
        text_operations: whether to load the operations of TensorFlow Text.

    Returns:
        What the script writes.

    Raises:
        ExportError: If it fails, or if Python's TensorFlow was imported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        calls_file, results_file = Path(scratch, "calls.json"), Path(scratch, "results.json")
        calls_file.write_text(json.dumps(calls, default=to_json), encoding="utf-8")
        command: list[Any] = [
            sys.executable,
            "-P",
            c_api_script.__file__,
            version,
            calls_file,
            results_file,
        ]
        command += [] if text_operations else ["--no-libraries"]
        ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        if ran.returncode:
            raise ExportError(
                f"The SavedModel {version} must run without Python's TensorFlow. "
                f"Received: exit status {ran.returncode}, {_last_error(ran.stderr)[:2000]}"
            )
        results = json.loads(results_file.read_text(encoding="utf-8"))
    imported = {*c_api_script.BLOCKED_MODULES} & set(results["imported"])
    if imported:
        raise ExportError(
            f"The SavedModel {version} must run without Python's TensorFlow. "
            f"Received: imported modules {imported}"
        )
    return results


def _last_error(printed: str) -> str:
    """Returns the last error of a process, which may have several lines, in one line."""
    lines = printed.splitlines()
    first = max((i for i, line in enumerate(lines) if line[:1].strip()), default=0)
    return " ".join(line.strip() for line in lines[first:])


def _call(exportable: Exportable, signature: Signature, samples: list, batch: Batch) -> dict:
    # Single samples leave optional inputs out, so that their defaults are verified, too.
    inputs = exportable.inputs(signature, samples, batch, optional=len(samples) != 1)
    timed = signature is exportable.signatures[0] and len(samples) == 1
    return {"signature": signature.name, "inputs": inputs, "timed": timed}


def _empty_call(exportable: Exportable, signature: Signature) -> dict:
    options = signature.defaults(0) if signature.defaults else {}
    inputs = {exportable.input_name: [], **options}
    return {"signature": signature.name, "inputs": inputs, "timed": False}


def _as_arrays(outputs: dict[str, list]) -> dict[str, np.ndarray | list]:
    """Converts numbers from JSON to the model's types; strings stay lists."""
    converted = {}
    for name, values in outputs.items():
        array = np.asarray(values)
        kinds = {"i": "int32", "f": "float32", "b": "bool"}
        kind = kinds.get(array.dtype.kind)
        converted[name] = values if kind is None else array.astype(kind)
    return converted
