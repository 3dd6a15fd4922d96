"""An export is asked again what it was proven on, long after or on another machine."""

import base64
from pathlib import Path

from keras_attention.export.exported import export_in, kind_in
from keras_attention.export.saved_model import verify as prove_saved_model
from keras_attention.export.saved_model.writer import EXTRA
from keras_attention.export.tflite.writer import FILE, LiteRT
from keras_attention.export.verification.compare import ExportError, Output, compare, run_ids
from keras_attention.export.verification.samples import TRIALS
from keras_attention.export.verification.tolerances import WEIGHTS
from keras_attention.utils.atomic_io import read_json


def verify(folder: str | Path) -> dict:
    """Runs an export on what is in its `trials.json`, and compares with what it answered then.

    A SavedModel is run by TensorFlow's C API in a process of its own, a TFLite file by LiteRT. The
    model is not needed.

    Args:
        folder: what a task's `export` wrote: a SavedModel's base path (its last version is taken)
            or one version of it, or a folder with `model.tflite`.

    Returns:
        What its `proof.json` says, but for `agreement`, which is of now and then.

    Raises:
        ValueError: if the folder holds no export, or one without `trials.json`.
        ExportError: if a file has another size than it had, or an answer is another.
    """
    folder = export_in(folder)
    if not (folder / TRIALS).is_file():
        raise ValueError(
            f"folder: expected an export with {TRIALS}, which older ones have not. "
            f"Received: {str(folder)!r}"
        )
    proof, trials = read_json(folder / "proof.json"), read_json(folder / TRIALS)
    for name, size in proof["bytes"].items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            raise ExportError(f"{name}: expected {size} bytes. Received: {found}")
    batches = [[_decoded(each)] for each in trials["inputs"]]
    rows = zip(trials["texts"], trials["scores"], strict=True)
    expected = [Output(texts, texts, scores) for texts, scores in rows]
    run = _run_tflite if (folder / FILE).is_file() else _run_saved_model
    received = run(folder, batches, trials["signature"])
    tolerance = WEIGHTS[proof.get("weights", "float32")].signatures
    received = [_alike(output) for output in received]
    agreement = compare(expected, received, batches, tolerance, "the earlier")
    return {**proof, "agreement": agreement, "path": str(folder)}


def _run_tflite(folder, batches, _):
    kind = kind_in(folder, "tflite", lambda: LiteRT(folder / FILE))
    return run_ids(kind, batches)[0]


def _run_saved_model(version, batches, signature):
    kind = kind_in(version / EXTRA, "saved_model", lambda: None)
    by_text = signature == "details"
    calls = [
        {
            "signature": signature,
            "inputs": {kind.served_input: each} if by_text else {"source": kind.encode(each)},
            "timed": False,
        }
        for each in batches
    ]
    outputs = prove_saved_model.answers(version, calls, by_text)["outputs"]
    if by_text:
        return map(kind.served_output, outputs)
    arrays = map(prove_saved_model.arrays, outputs)
    return [kind.output(kind.encode(x), y) for x, y in zip(batches, arrays, strict=True)]


def _alike(output):
    """What is kept: the words and the scores."""
    return Output(output.texts, output.texts, output.scores)


def _decoded(given):
    return base64.b64decode(given["b64"]) if isinstance(given, dict) else given
