"""Verification of an export long after it was written, or on another machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.export.formats import FORMATS, export_format, find_export
from keras_attention.export.saved_model.versions import BASE_DIGESTS
from keras_attention.export.verification.compare import ExportError
from keras_attention.export.verification.report import REPORT, check_report
from keras_attention.export.verification.samples import SAMPLES, read_samples
from keras_attention.export.verification.tolerances import PRECISIONS
from keras_attention.utils.manifest import check_digests, read_manifest


def verify(folder: str | Path) -> dict[str, Any]:
    """Runs an export on the inputs in its `samples.json` and compares with the recorded outputs.

    Before anything else is read, every file must have the SHA-256 in `verification.json`. Files
    that are not in it are ignored. For a base path, the files next to the versions are checked,
    too.

    A SavedModel is run by TensorFlow's C API in a process of its own, a TFLite file by LiteRT's
    `Interpreter` and, if its shapes are static, by `CompiledModel`, a LiteRT-LM file by
    both, a CTranslate2 model by CTranslate2, ONNX files by ONNX Runtime. The Keras model
    is not needed.

    Args:
        folder: what a task's `export` wrote: a SavedModel's base path (its last version is taken)
            or one version of it, or the folder of another format.

    Returns:
        The contents of `verification.json`, with the new `agreement`.

    Raises:
        ValueError: If the folder holds no export, or a file of it has changed.
        ExportError: If the export does not run, or an output has changed.
    """
    base, folder = Path(folder), find_export(folder)
    contents = read_manifest(folder / REPORT)
    format = export_format(folder)
    check_report(contents, folder / REPORT, format)
    if folder != base:
        try:
            check_digests(base, contents[BASE_DIGESTS])
        except ValueError as error:
            raise ValueError(
                f"{error}. If you have edited this file, verify the version alone: {str(folder)!r}"
            ) from None
    recorded = read_samples(folder)
    received = _run(folder, FORMATS[format], recorded, contents)
    tolerance = PRECISIONS[contents.get("weights", "float32")].signature_tolerance
    agreement, *_ = [compare_recorded(recorded, each, tolerance) for each in received]
    return {**contents, "agreement": agreement, "path": str(folder)}


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
        ExportError: If an output has changed.
    """
    agreement: dict[str, Any] = {"compared": 0, "equal": 0, "ties": 0, "max_score_difference": 0.0}
    rows = zip(recorded["samples"], recorded["outputs"], received, strict=True)
    for i, (sample, expected, outputs) in enumerate(rows):
        if expected.keys() - outputs.keys():
            raise ExportError(
                f"`outputs` must have the recorded {sorted(expected)}. Received: {sorted(outputs)}"
            )
        outputs = {name: np.asarray(_decoded(outputs[name])) for name in expected}
        equal = True
        for name, values in expected.items():
            values = np.asarray(values)
            same_shape = values.shape == outputs[name].shape
            if values.dtype.kind == "f" and outputs[name].dtype.kind in "fi" and same_shape:
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


def _run(folder, format, recorded, contents):
    """Returns the outputs of the recorded inputs, for each API that runs the format."""
    try:
        if format.run_recorded:
            return format.run_recorded(folder, recorded, contents)
        runner = format.load_runner(folder)
        return [[runner.call(each) for each in recorded["inputs"]]]
    except ExportError:
        raise
    except Exception as error:  # those of ONNX Runtime have no other base
        raise ExportError(
            f"{str(folder)!r} must run in {format.runtime} on the samples in {SAMPLES}. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


def _decoded(values):
    """Returns strings for bytes, at any depth."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [_decoded(value) for value in values]
    return values.decode("utf-8") if isinstance(values, bytes) else values
