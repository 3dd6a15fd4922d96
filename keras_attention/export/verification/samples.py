"""Recorded inputs and outputs of an export, `samples.json`, from which it is verified later."""

import base64
import json
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.export.signatures import Exportable, Signature
from keras_attention.export.verification.compare import median_latency
from keras_attention.utils.atomic_io import read_json

SAMPLES = "samples.json"
MAX_SAMPLES = 8


def write_samples(
    folder: Path,
    signature: Signature,
    samples: Sequence[Any],
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
) -> None:
    """Writes samples to `samples.json`.

    Args:
        folder: where the file is written.
        signature: the signature that was run.
        samples: raw inputs, at most `MAX_SAMPLES`; texts are written, for readers.
        inputs: inputs of the signature for each sample alone.
        outputs: its outputs.
    """
    rows = list(zip(samples, inputs, outputs, strict=True))
    recorded = {
        "signature": signature.name,
        "samples": [sample if isinstance(sample, str) else None for sample, *_ in rows],
        "inputs": [row_inputs for _, row_inputs, _ in rows],
        "outputs": [
            {name: row_outputs[name] for name in signature.comparison.recorded}
            for *_, row_outputs in rows
        ],
    }
    text = json.dumps(recorded, ensure_ascii=False, indent=1, default=_compressed)
    (folder / SAMPLES).write_text(text, encoding="utf-8")


def record_samples(exportable: Exportable, runner: Callable, folder: Path) -> dict[str, float]:
    """Runs the first samples that may be recorded, each alone, and writes `samples.json`.

    Args:
        exportable: what is exported; it has one signature.
        runner: `runner(model_inputs)` returns the outputs of the export.
        folder: of the export.

    Returns:
        The median milliseconds for one sample, of the `"model"` and of the `"export"`.
    """
    (signature,) = exportable.signatures
    first = exportable.first_recorded
    samples = exportable.samples[first : first + MAX_SAMPLES]
    encoded = [exportable.encode([sample]) for sample in samples]
    inputs = [{"source": batch.model_inputs} for batch in encoded]
    outputs = [runner(batch.model_inputs) for batch in encoded]
    write_samples(folder, signature, samples, inputs, outputs)
    return {
        "model": median_latency(exportable.predict, encoded),
        "export": median_latency(runner, encoded),
    }


def read_samples(folder: Path) -> dict[str, Any]:
    """Reads `samples.json`.

    Returns:
        `signature`, its name; `samples`, texts or `None`; `inputs` and `outputs`, a dictionary for
        each sample, of lists and arrays.

    Raises:
        ValueError: If the file does not have this form.
    """
    recorded = read_json(folder / SAMPLES)
    try:
        rows = list(zip(recorded["samples"], recorded["inputs"], recorded["outputs"], strict=True))
        return {
            "signature": str(recorded["signature"]),
            "samples": [sample for sample, *_ in rows],
            "inputs": [
                {name: _from_json(value) for name, value in inputs.items()} for _, inputs, _ in rows
            ],
            "outputs": [
                {name: np.asarray(value) for name, value in outputs.items()} for *_, outputs in rows
            ],
        }
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, zlib.error) as error:
        raise ValueError(
            f"{SAMPLES} must have samples with their inputs and outputs. Received: "
            f"{str(folder / SAMPLES)!r} ({type(error).__name__}: {error})"
        ) from None


def to_json(value: bytes | np.ndarray) -> Any:
    """Converts bytes and arrays as TF Serving's REST API takes them."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return {"b64": base64.b64encode(value).decode("ascii")}


def _compressed(value):
    """Converts to JSON, pixels compressed."""
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        data = base64.b64encode(zlib.compress(value.tobytes())).decode("ascii")
        return {"shape": value.shape, "zlib": data}
    return to_json(value)


def _from_json(value):
    if isinstance(value, dict):  # pixels
        size = math.prod(value["shape"])  # more than it says is not decompressed
        data = zlib.decompressobj().decompress(base64.b64decode(value["zlib"]), size)
        return np.frombuffer(data, np.uint8).reshape(value["shape"])
    return [base64.b64decode(x["b64"]) if isinstance(x, dict) else x for x in value]
