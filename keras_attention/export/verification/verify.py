"""Verification of an export long after it was written, or on another machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.export.saved_model.verify import run_calls
from keras_attention.export.saved_model.versions import list_versions
from keras_attention.export.tflite.runner import FILE, TFLiteRunner
from keras_attention.export.verification.compare import ExportError
from keras_attention.export.verification.report import REPORT
from keras_attention.export.verification.samples import SAMPLES, read_samples
from keras_attention.export.verification.tolerances import PRECISIONS
from keras_attention.utils.atomic_io import read_json


def verify(folder: str | Path) -> dict[str, Any]:
    """Runs an export on the inputs in its `samples.json` and compares with the recorded outputs.

    A SavedModel is run by TensorFlow's C API in a process of its own, a TFLite file by LiteRT. The
    model is not needed.

    Args:
        folder: what a task's `export` wrote: a SavedModel's base path (its last version is taken)
            or one version of it, or a folder with `model.tflite`.

    Returns:
        The contents of `verification.json`, with the new `agreement`.

    Raises:
        ValueError: if the folder holds no export, or one without `samples.json`.
        ExportError: if the size of a file or an output has changed.
    """
    folder = find_export(folder)
    if not (folder / SAMPLES).is_file():
        raise ValueError(f"`folder` must be an export with {SAMPLES}. Received: {str(folder)!r}")
    contents, recorded = read_json(folder / REPORT), read_samples(folder)
    for name, expected in contents["bytes"].items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != expected:
            raise ExportError(f"{name} must have {expected} bytes. Received: {size}")
    run = _run_tflite if (folder / FILE).is_file() else _run_saved_model
    received = run(folder, recorded["signature"], recorded["inputs"])
    tolerance = PRECISIONS[contents.get("weights", "float32")].signature_tolerance
    return {
        **contents,
        "agreement": compare_recorded(recorded, received, tolerance),
        "path": str(folder),
    }


def find_export(folder: str | Path) -> Path:
    """Returns the folder of a TFLite file, or of the last version of a SavedModel.

    Raises:
        ValueError: if there is none.
    """
    folder = Path(folder)
    if (folder / FILE).is_file() or (folder / "saved_model.pb").is_file():
        return folder
    numbers = list_versions(folder) if folder.is_dir() else []
    if numbers and (folder / str(numbers[-1]) / "saved_model.pb").is_file():
        return folder / str(numbers[-1])
    raise ValueError(
        f"`folder` must be a SavedModel, its base path, or a folder with {FILE}. "
        f"Received: {str(folder)!r}"
    )


def compare_recorded(
    recorded: dict[str, Any], received: Sequence[dict[str, Any]], tolerance: float
) -> dict[str, Any]:
    """Compares outputs with recorded ones, sample by sample.

    Floats must be close. Other outputs must be equal, unless the floats tell that both results are
    equally good (a tie).

    Args:
        recorded: from `read_samples`.
        received: outputs for each sample.
        tolerance: relative difference of floats, absolute below 1.

    Returns:
        The numbers of compared and equal results and of ties, and the greatest difference.

    Raises:
        ExportError: if an output has changed.
    """
    agreement: dict[str, Any] = {"compared": 0, "equal": 0, "ties": 0, "max_score_difference": 0.0}
    rows = zip(recorded["samples"], recorded["outputs"], received, strict=True)
    for i, (sample, expected, outputs) in enumerate(rows):
        outputs = {name: np.asarray(_decoded(outputs[name])) for name in expected}
        equal = True
        for name, values in expected.items():
            values = np.asarray(values)
            same_shape = values.shape == outputs[name].shape
            if values.dtype.kind == "f" and same_shape:
                differences = np.abs(values - outputs[name])
                close = differences <= tolerance * np.maximum(1.0, np.abs(values))
                difference = float(differences.max(initial=0.0))
                agreement["max_score_difference"] = max(
                    agreement["max_score_difference"], difference
                )
                same_shape = bool(close.all())
            else:
                equal &= np.array_equal(values, outputs[name])
            if not same_shape:
                name_of_sample = repr(sample) if sample is not None else f"sample {i}"
                raise ExportError(
                    f"`{name}` must be as recorded for {name_of_sample[:80]}: "
                    f"{values.tolist()}. Received: {outputs[name].tolist()}"
                )
        agreement["compared"] += 1
        agreement["equal" if equal else "ties"] += 1
    return {**agreement, "tolerated_score_difference": tolerance}


def _run_tflite(folder, signature, inputs):
    runner = TFLiteRunner(folder / FILE)
    return [runner.call(signature, each) for each in inputs]


def _run_saved_model(version, signature, inputs):
    calls = [{"signature": signature, "inputs": each, "timed": False} for each in inputs]
    uses_text = bool(read_json(version / REPORT)["tensorflow_text_operations"])
    return run_calls(version, calls, uses_text)["outputs"]


def _decoded(values):
    """Returns strings for bytes, at any depth."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [_decoded(value) for value in values]
    return values.decode("utf-8") if isinstance(values, bytes) else values
