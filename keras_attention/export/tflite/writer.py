"""Writer of TFLite files with built-in operations, and the tokenizers next to them."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_attention.export.saved_model.writer import check_backend
from keras_attention.export.signatures import (
    Exportable,
    Signature,
    has_static_shapes,
)
from keras_attention.export.tflite.compiled_model import CompiledModelRunner, compare_runtimes
from keras_attention.export.tflite.conversion import check_weights, convert
from keras_attention.export.tflite.flatbuffer import write_model
from keras_attention.export.tflite.metadata import add_metadata
from keras_attention.export.tflite.runner import FILE, TFLiteRunner
from keras_attention.export.tflite.static_shapes import pad_batch
from keras_attention.export.verification.compare import (
    BATCH,
    ExportError,
    check_consistent,
    compare,
    median_latency,
    predictions_of_model,
    sample_batches,
)
from keras_attention.export.verification.quality import check_references, compare_quality
from keras_attention.export.verification.report import EXPORT_FORMAT, REPORT, report
from keras_attention.export.verification.samples import MAX_SAMPLES, write_samples
from keras_attention.export.verification.tolerances import PRECISIONS
from keras_attention.types import Batch
from keras_attention.utils.atomic_io import check_replaceable, replace_folder, write_json
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import write_manifest


def export_tflite(
    exportable: Exportable,
    folder: str | Path,
    weights: str = "float32",
    references: Sequence | None = None,
    allow_loss: bool = False,
) -> dict[str, Any]:
    """Writes `model.tflite`, the tokenizers, `export.json` and `verification.json`.

    The file has the signatures of `exportable`. All operations are TFLite's own, so any TFLite
    runtime runs the file, except for signatures with operations of TensorFlow Text.

    | `weights` | precision |
    | --- | --- |
    | `"float32"` | the model's |
    | `"int8"` | dynamic range: a quarter of the size, and faster; the choice for phones |
    | `"float16"` | half the size, computed in float32 |
    | `"int4"` | four bits for dense layers and embeddings, with ai-edge-quantizer |
    | `"full_int8"` | activations too, for integer accelerators; no loops |
    | `"full_int16"` | activations in 16 bits, weights in 8, with ai-edge-quantizer; no loops |

    Signatures without loops are those of classifiers and taggers with a Transformer encoder, and
    those of a Transformer that `export_steps` writes.

    A file of float32 must return what the model returns. Files of reduced precision are scored:
    exact match and BLEU of texts, or the accuracy of labels and tags, next to the model's. In any
    case results must not depend on the batch.

    A file of static shapes is run in LiteRT's `CompiledModel`, too, with the same results.

    Args:
        exportable: what to export.
        folder: folder of the files; an earlier TFLite export there is replaced once the new one is
            verified.
        weights: precision. The ranges of the activations of `"full_int8"` and `"full_int16"` come
            from the samples.
        references: correct result for each of the user's samples, by which a file of reduced
            precision is scored: a text or several, a label, or a list of tags. `None` takes the
            model's own results; then any differing result counts as an error, even an equally good
            one.
        allow_loss: whether to write a file that loses more than 1 point out of 100.

    Returns:
        The contents of `verification.json`, and `path`, the folder.

    Raises:
        ValueError: If the backend is not TensorFlow, the folder holds other files, `weights` does
            not suit the model, or the number of references is wrong.
        ImportError: for `"int4"` and `"full_int16"`, if ai-edge-quantizer is not installed.
        ExportError: If the model cannot be converted, or if the file, run by LiteRT, disagrees with
            the model or loses quality, or the disk is full.
    """
    check_backend()
    check_weights(weights, exportable.signatures, exportable.name)
    check_references(exportable, references, is_exact=not PRECISIONS[weights].is_reduced)
    folder = Path(folder).absolute()
    check_replaceable(folder, FILE)
    static = describe_shapes(static_shape(exportable.signatures))
    with explain_full_disk("A TFLite export", folder, ExportError), replace_folder(folder) as new:
        about = {"export": "tflite", "format": EXPORT_FORMAT, "task": exportable.name}
        about |= {"weights": weights, **static}
        about |= {**exportable.save_assets(new), **exportable.metadata}
        write_json(new / "export.json", about)
        write_file(new / FILE, exportable, weights, about)
        contents = _verify(new, exportable, weights, references, allow_loss)
        contents = write_manifest(new / REPORT, contents)
    return {**contents, "path": str(folder)}


def _verify(folder, exportable, weights, references, allow_loss):
    """Compares the file with the model and writes `samples.json`; returns the report."""
    file, precision = folder / FILE, PRECISIONS[weights]
    signatures, samples = exportable.signatures, exportable.samples
    static = static_shape(signatures)
    batches = batches_of_file(signatures, samples)
    first = exportable.first_recorded
    recorded = samples[first : first + MAX_SAMPLES]
    compared_batches = batches
    if precision.is_reduced:  # all samples are compared by `compare_quality`
        compared_batches, first = batches_of_file(signatures, recorded), 0
    encoded = [exportable.encode(batch) for batch in compared_batches]
    signature_inputs = inputs_of_signatures(exportable, compared_batches, encoded)
    outputs = run_signatures(signatures, file, signature_inputs)
    for each, batch in zip(outputs, encoded, strict=True):
        check_consistent(signatures, each, batch, precision.signature_tolerance)
    compared = next(each for each in signatures if each.comparison.predictions)
    runner = TFLiteRunner(file)
    if precision.is_reduced:
        model_time = median_latency(exportable.predict, encoded)
        results = compare_quality(exportable, runner, references, allow_loss)
    else:
        received = [
            compared.comparison.predictions(each[compared.name], batch)
            for each, batch in zip(outputs, encoded, strict=True)
        ]
        expected, model_time = predictions_of_model(exportable, compared, encoded, received)
        results = {"agreement": compare(expected, received, compared_batches)}
    if static:
        results["compiled_model_agreement"] = compare_runtimes(
            file, signature_inputs, outputs, encoded, precision.signature_tolerance
        )
    for signature in signatures:
        if signature.comparison.run:
            results |= _run_together(signature, file, encoded, precision, static)
    chosen = slice(first, first + len(recorded))  # single samples come first in the batches
    inputs = [
        exportable.inputs(compared, *batch)
        for batch in zip(compared_batches[chosen], encoded[chosen], strict=True)
    ]
    recorded_outputs = [each[compared.name] for each in outputs[chosen]]
    write_samples(folder, compared, recorded, inputs, recorded_outputs)
    latency = {"model": model_time, "export": median_latency(runner, encoded)}
    contents = report("tflite", runtime_of(signatures), exportable, batches, latency, folder)
    return contents | {"weights": weights, **describe_shapes(static), **results}


def write_file(path: Path, exportable: Exportable, weights: str, about: dict[str, Any]) -> None:
    """Writes the TFLite file with its metadata; the file is not in memory afterwards.

    Args:
        path: of the file.
        exportable: what to export. The ranges of integer activations come from its samples, without
            those that were made because the user's may not be recorded.
        weights: one of `tolerances.PRECISIONS`.
        about: the metadata.
    """
    signatures, samples = exportable.signatures, exportable.samples
    calibration = samples[: exportable.first_recorded] or samples
    encoded = [exportable.encode(batch) for batch in batches_of_file(signatures, calibration)]
    if static := static_shape(signatures):
        encoded = [pad_batch(batch, static) for batch in encoded]
    model = convert(signatures, weights, encoded)
    add_metadata(model, exportable.name, about)
    path.write_bytes(write_model(model))


def batches_of_file(signatures: Sequence[Signature], samples: Sequence) -> list[list]:
    """Returns the batches to verify on, none of which is larger than the batch of a static file.

    Noise of `Sampling` depends on the row, so a batch is not run in pieces.
    """
    static = static_shape(signatures)
    return sample_batches(samples, min(BATCH, static[0]) if static else BATCH)


def runtime_of(signatures: Sequence[Signature]) -> str:
    """Returns what `verification.json` says of the runtime."""
    runtime = f"LiteRT {importlib.metadata.version('ai-edge-litert')}, built-in operations"
    if any(each.text_operations for each in signatures):
        runtime += "; `text` with TensorFlow Text's"
    return runtime


def static_shape(signatures: Sequence[Signature]) -> tuple[int, ...] | None:
    """Returns the shape of the model inputs, or `None` if it is free."""
    shape = signatures[0].input_spec["source"].shape
    return tuple(shape) if has_static_shapes(signatures) else None


def describe_shapes(static: Sequence[int] | None) -> dict[str, Any]:
    """Returns what `export.json` and `verification.json` say of the shapes of a file."""
    if static is None:
        return {"litert_apis": ["Interpreter"]}
    return {"litert_apis": ["Interpreter", "CompiledModel"], "static_shape": list(static)}


def inputs_of_signatures(
    exportable: Exportable, batches: Sequence[list], encoded: Sequence[Batch]
) -> list[dict[str, dict]]:
    """Returns the inputs of the signatures that are compared with the model or with each other.

    Returns:
        For each batch the inputs by signature.
    """
    return [
        {
            signature.name: _inputs(exportable, signature, samples, batch)
            for signature in exportable.signatures
            if signature.comparison.predictions or signature.comparison.same_as
        }
        for samples, batch in zip(batches, encoded, strict=True)
    ]


def run_signatures(
    signatures: Sequence[Signature], file: Path, inputs: Sequence[dict[str, dict]]
) -> list[dict[str, dict]]:
    """Runs signatures in LiteRT's `Interpreter`.

    Args:
        signatures: of the file.
        file: the file.
        inputs: for each batch the inputs by signature.

    Returns:
        For each batch the outputs by signature.
    """
    runners = {needed: TFLiteRunner(file, needed) for needed in (False, True)}
    needs_text = {each.name: each.text_operations for each in signatures}
    return [
        {name: runners[needs_text[name]].call(name, x) for name, x in each.items()}
        for each in inputs
    ]


def _run_together(signature, file, encoded, precision, static):
    """Returns the report of a signature that is run together with others, in each runtime."""
    calls = [TFLiteRunner(file).call]
    if static:
        calls.append(CompiledModelRunner(file).call)
    reports = [signature.comparison.run(x, encoded, not precision.is_reduced) for x in calls]
    if reports[0] != reports[-1]:
        raise ExportError(
            f"`{signature.name}` must return the same in both APIs of LiteRT. "
            f"Received: {reports[0]} in Interpreter and {reports[-1]} in CompiledModel"
        )
    return reports[0]


def _inputs(exportable, signature, samples, batch):
    inputs = exportable.inputs(signature, samples, batch)
    if exportable.input_name in inputs:  # strings
        inputs[exportable.input_name] = exportable.normalize(samples)
    return inputs
