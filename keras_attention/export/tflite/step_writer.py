"""Writer of TFLite files with `encode` and `decode` only, for accelerators and apps with a loop."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_attention.export.signatures import Exportable, Signature
from keras_attention.export.tflite.conversion import check_weights
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.tflite.step_runner import STEPS_FILE, StepRunner
from keras_attention.export.tflite.writer import (
    batches_of_file,
    describe_shapes,
    static_shape,
    write_file,
)
from keras_attention.export.unsupported import check_no_options
from keras_attention.export.verification.compare import ExportError, compare_apis
from keras_attention.export.verification.quality import check_references, compare_quality
from keras_attention.export.verification.report import EXPORT_FORMAT, REPORT, report
from keras_attention.export.verification.samples import record_samples
from keras_attention.export.verification.tolerances import PRECISIONS
from keras_attention.generation import Strategy
from keras_attention.utils.atomic_io import check_replaceable, replace_folder, write_json
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import write_manifest


def export_steps(
    exportable: Exportable,
    signatures: Sequence[Signature],
    strategy: Strategy,
    folder: str | Path,
    weights: str = "float32",
    references: Sequence | None = None,
    allow_loss: bool = False,
) -> dict[str, Any]:
    """Writes `steps.tflite`, the tokenizers, `export.json` and `verification.json`.

    The file has the signatures `encode` and `decode` of static shapes, and no loop but that of an
    RNN in `encode`. Accelerators have no loops, and TFLite cannot compute them in integers. Greedy
    search with the two signatures, run by LiteRT's `Interpreter`, must return what the model's
    greedy search returns, or, with weights of reduced precision, score nearly as well.
    `CompiledModel` must return the same.

    Args:
        exportable: what to export; it predicts with greedy search, and its only signature says how
            outputs are compared.
        signatures: `encode` and `decode`; see `step_signatures`.
        strategy: limits of the generation.
        folder: folder of the files; an earlier export of this format there is replaced once the new
            one is verified.
        weights: precision; see `export.tflite.writer.export_tflite`.
        references: correct text for each of the user's samples, or several; `None` takes the
            model's own results, so that any differing result counts as an error.
        allow_loss: whether to write a file that loses more than 1 point out of 100.

    Returns:
        The contents of `verification.json`, and `path`, the folder.

    Raises:
        ValueError: If the strategy has a `length_ratio`, the folder holds other files, `weights`
            does not suit the model, or the number of references is wrong.
        ImportError: for `"int4"` and `"full_int16"`, if ai-edge-quantizer is not installed.
        ExportError: If the model cannot be converted, or if the file disagrees with the model or
            loses quality, or the disk is full.
    """
    ratio = strategy.length_ratio
    options = [f"strategy: length_ratio={ratio}"] if ratio else []
    check_no_options(options, "`encode` and `decode` do not know the length of the source")
    check_weights(weights, signatures, exportable.name)
    precision = PRECISIONS[weights]
    check_references(exportable, references, is_exact=not precision.is_reduced)
    folder = Path(folder).absolute()
    check_replaceable(folder, STEPS_FILE)
    static = static_shape(signatures)
    assert static is not None
    what = "A TFLite export of single steps"
    with explain_full_disk(what, folder, ExportError), replace_folder(folder) as new:
        about = {"export": "tflite_steps", "format": EXPORT_FORMAT, "task": exportable.name}
        about |= {"weights": weights, **describe_shapes(static)}
        about |= {"max_new_tokens": strategy.max_new_tokens, "force_end": strategy.force_end}
        about |= {**exportable.save_assets(new), **exportable.metadata}
        write_json(new / "export.json", about)
        written = replace(exportable, signatures=signatures)
        write_file(new / STEPS_FILE, written, weights, about)
        runner = StepRunner(new)
        batches = batches_of_file(signatures, exportable.samples)
        if precision.is_reduced:
            results = compare_quality(exportable, runner, references, allow_loss)
        else:
            encoded = [exportable.encode(batch) for batch in batches]
            run = signatures[-1].comparison.run
            assert run is not None  # of `decode`
            compared = run(TFLiteRunner(new / STEPS_FILE).call, encoded, True)
            results = {"agreement": compared["steps_agreement"]}
        results["compiled_model_agreement"] = compare_apis(
            exportable, runner, StepRunner(new, compiled=True), precision.signature_tolerance
        )
        latency = record_samples(exportable, runner, new)
        runtime = f"LiteRT {importlib.metadata.version('ai-edge-litert')}, built-in operations"
        contents = report("tflite_steps", runtime, exportable, batches, latency, new)
        contents |= {"weights": weights, **describe_shapes(static), **results}
        contents = write_manifest(new / REPORT, contents)
    return {**contents, "path": str(folder)}
