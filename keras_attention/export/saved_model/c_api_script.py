"""Script that runs a SavedModel with TensorFlow's C API, without TensorFlow's Python or Keras.

    python -P c_api_script.py VERSION CALLS.json RESULTS.json [--no-libraries]

It imports only the package `c_api` next to it, not `keras_attention`, so that the SavedModel is
loaded and run by the same C++ code as in TF Serving and nothing else.
"""

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

BLOCKED_MODULES = ("keras", "tf_keras", "keras_attention", "tensorflow", "tensorflow_text")


def main(version: str, calls: str, results: str, *options: str) -> None:
    """Runs calls of a SavedModel's signatures and writes their outputs to a file.

    Args:
        version: folder of the SavedModel.
        calls: JSON file with a list of calls. Each has a `signature`, `inputs` by name, and
            `timed`, true to measure the time of a second run. An input is a list of strings, of
            `{"b64": ...}` with base64-encoded bytes, or of numbers.
        results: JSON file to write. It has `outputs` (by name, for each call), `milliseconds`
            (for each timed call), the custom `operations` of the graph, the `signatures`, and the
            `imported` Python packages.
        options: `--no-libraries` does not load tensorflow-text's operations.
    """
    for name in BLOCKED_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # makes an import fail
    sys.path.insert(0, str(Path(__file__).parent))
    from c_api import Session

    outputs, milliseconds = [], []
    libraries = () if "--no-libraries" in options else None
    with Session(version, libraries) as session:
        for call in json.loads(Path(calls).read_text(encoding="utf-8")):
            inputs = {name: _decode_bytes(values) for name, values in call["inputs"].items()}
            arrays = session.run(call["signature"], inputs)
            outputs.append({name: _to_json(array.tolist()) for name, array in arrays.items()})
            if call["timed"]:
                start = time.perf_counter()
                session.run(call["signature"], inputs)
                milliseconds.append(1000 * (time.perf_counter() - start))
    report = {
        "outputs": outputs,
        "milliseconds": milliseconds,
        "operations": session.operations,
        "signatures": session.signatures,
        "imported": sorted({name.split(".")[0] for name, module in sys.modules.items() if module}),
    }
    Path(results).write_text(json.dumps(report), encoding="utf-8")


def _decode_bytes(values: list) -> list:
    return [base64.b64decode(x["b64"]) if isinstance(x, dict) else x for x in values]


def _to_json(value: Any) -> Any:
    """Returns nested lists with bytes decoded to strings."""
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
