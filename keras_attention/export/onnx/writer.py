"""Writer of ONNX files, and the tokenizers next to them."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import onnx

from keras_attention.export.onnx.conversion import convert
from keras_attention.export.onnx.runner import FILE, ONNXRunner
from keras_attention.export.saved_model.writer import check_backend
from keras_attention.export.signatures import Exportable
from keras_attention.export.verification.compare import (
    ExportError,
    compare,
    median_latency,
    predictions_of_model,
    sample_batches,
)
from keras_attention.export.verification.report import EXPORT_FORMAT, REPORT, report
from keras_attention.export.verification.samples import MAX_SAMPLES, write_samples
from keras_attention.utils.atomic_io import check_replaceable, replace_folder, write_json
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import write_manifest


def export_onnx(exportable: Exportable, folder: str | Path) -> dict[str, Any]:
    """Writes `model.onnx`, the tokenizers, `export.json` and `verification.json`.

    The file is run by ONNX Runtime and must return what the model returns.

    Args:
        exportable: what to export; it has one signature.
        folder: folder of the files; an earlier ONNX export there is replaced once the new one is
            verified.

    Returns:
        The contents of `verification.json`, and `path`, the folder.

    Raises:
        ValueError: If the backend is not TensorFlow, or the folder holds other files.
        ExportError: If the model cannot be converted, or if the file disagrees with the model, or
            the disk is full.
    """
    check_backend()
    folder = Path(folder).absolute()
    check_replaceable(folder, FILE)
    (signature,) = exportable.signatures
    with explain_full_disk("An ONNX export", folder, ExportError), replace_folder(folder) as new:
        about = {"export": "onnx", "format": EXPORT_FORMAT, "task": exportable.name}
        about |= {**exportable.save_assets(new), **exportable.metadata}
        write_json(new / "export.json", about)
        model = convert(signature, exportable.num_bytes)
        onnx.helper.set_model_props(model, {"export.json": json.dumps(about, ensure_ascii=False)})
        onnx.save(model, new / FILE)
        del model  # as large as the file
        contents = verify_and_record(exportable, ONNXRunner(new), new, "onnx")
    return {**contents, "path": str(folder)}


def verify_and_record(
    exportable: Exportable, runner: Any, folder: Path, format: str
) -> dict[str, Any]:
    """Compares an export with the model, and writes `samples.json` and `verification.json`.

    Args:
        exportable: what is exported; it has one signature.
        runner: runs the export in ONNX Runtime; `call` takes the inputs of the signature.
        folder: folder of the export.
        format: of the export.

    Returns:
        The contents of `verification.json`.

    Raises:
        ExportError: If the export disagrees with the model.
    """
    (signature,) = exportable.signatures
    to_predictions = signature.comparison.predictions
    assert to_predictions is not None
    batches = sample_batches(exportable.samples)
    encoded = [exportable.encode(samples) for samples in batches]
    inputs = [exportable.inputs(signature, *each) for each in zip(batches, encoded, strict=True)]
    outputs = [runner.call(each) for each in inputs]
    received = [to_predictions(*each) for each in zip(outputs, encoded, strict=True)]
    expected, model_time = predictions_of_model(exportable, signature, encoded, received)
    agreement = compare(expected, received, batches)
    first = exportable.first_recorded  # single samples come first in `batches`
    chosen = slice(first, min(first + MAX_SAMPLES, len(exportable.samples)))
    samples = exportable.samples[chosen]
    write_samples(folder, signature, samples, inputs[chosen], outputs[chosen])
    latency = {"model": model_time, "export": median_latency(runner, encoded)}
    runtime = f"ONNX Runtime {importlib.metadata.version('onnxruntime')}"
    contents = report(format, runtime, exportable, batches, latency, folder)
    return write_manifest(folder / REPORT, {**contents, "agreement": agreement})
