"""The report of a verification, `verification.json`."""

import contextlib
import datetime
import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_attention import __version__
from keras_attention.export.saved_model.versions import BASE_DIGESTS
from keras_attention.export.signatures import Exportable
from keras_attention.export.verification.tolerances import PRECISIONS

# Those of other formats than the export's may be missing.
PACKAGES = (
    "keras", "tensorflow", "tensorflow-text", "ai-edge-litert", "litert-lm-builder",
    "ctranslate2", "onnx", "onnxruntime", "tf2onnx", "tokenizers", "numpy",
)  # fmt: skip
REPORT = "verification.json"
EXPORT_FORMAT = 2  # of `export.json`
# Types of what `verify` reads of the report of a SavedModel.
SAVED_MODEL_TYPES = {"tensorflow_text_operations": list, BASE_DIGESTS: dict}


def report(
    format: str,
    runtime: str,
    exportable: Exportable,
    batches: Sequence[list],
    latency: dict[str, float],
    folder: Path,
) -> dict[str, Any]:
    """Returns the contents of `verification.json`, but for the results of the comparison.

    Args:
        format: of the export.
        runtime: what ran it.
        exportable: what was exported.
        batches: the samples it was run on.
        latency: median milliseconds for one sample, of the `"model"` and of the `"export"`.
        folder: where the export is written.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "format": format,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "runtime": runtime,
        "task": exportable.name,
        **exportable.metadata,
        "batch_sizes": [len(samples) for samples in batches],
        "longest_input": max(len(sample) for samples in batches for sample in samples),
        "median_milliseconds": {name: round(time, 3) for name, time in latency.items()},
        "bytes": {str(path.relative_to(folder)): path.stat().st_size for path in files},
        "versions": {
            "python": platform.python_version(),
            "keras-attention": __version__,
            **_versions(PACKAGES),
        },
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def check_report(contents: dict[str, Any], path: Path, format: str) -> None:
    """Checks the parts of a report that `verify` reads.

    Args:
        contents: of the file.
        path: the file, for the error.
        format: name of the format.

    Raises:
        ValueError: If one is missing or of another type.
    """
    types = SAVED_MODEL_TYPES if format == "saved_model" else {}
    wrong = [name for name, type in types.items() if not isinstance(contents.get(name), type)]
    if contents.get("weights", "float32") not in list(PRECISIONS):
        wrong.append("weights")
    if contents.get("format") != format:
        wrong.append("format")
    try:
        datetime.datetime.fromisoformat(contents.get("date", ""))
    except (TypeError, ValueError):
        wrong.append("date")
    if wrong:
        raise ValueError(
            f"{REPORT} must have valid values of {wrong}. Received: {str(path)!r} with "
            f"{[contents.get(name) for name in wrong]}"
        )
