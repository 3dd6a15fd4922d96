"""Runs a SavedModel as a stranger does: TensorFlow's C API, without TensorFlow's Python or Keras.

It is a script of its own, `python -P c_api_script.py VERSION CALLS.json ANSWERS.json`, so that
nothing of this library is imported but `c_api`, which stands beside it. Python is only what holds
the files open: what loads the SavedModel, and runs it, is what TF Serving is made of.
"""

import base64
import json
import sys
import time
from pathlib import Path

ABSENT = ("keras", "tf_keras", "keras_attention", "tensorflow", "tensorflow_text")


def main(version: str, calls: str, answers: str, *option: str) -> None:
    """Answers calls, and times those that ask for it.

    Args:
        version: folder of the SavedModel.
        calls: file with a list of calls: `signature`, `inputs` by name, and whether it is `timed`.
            An input is a list of strings, or of `{"b64": bytes in base64}`, or of numbers.
        answers: file to write: `outputs` by name for each call and `milliseconds` for each that is
            timed, the `operations` that are not TensorFlow's own, the `signatures`, and what was
            `imported`.
        option: `--no-libraries` goes without tensorflow-text's operations.
    """
    for name in ABSENT:
        sys.modules[name] = None  # importing it fails
    sys.path.insert(0, str(Path(__file__).parent))
    from c_api import Session

    outputs, milliseconds = [], []
    with Session(version, () if option else None) as session:
        for call in json.loads(Path(calls).read_text(encoding="utf-8")):
            inputs = {name: _given(values) for name, values in call["inputs"].items()}
            found = session.run(call["signature"], inputs)
            outputs.append({name: _plain(array.tolist()) for name, array in found.items()})
            if call["timed"]:
                start = time.perf_counter()
                session.run(call["signature"], inputs)
                milliseconds.append(1000 * (time.perf_counter() - start))
    written = {
        "outputs": outputs,
        "milliseconds": milliseconds,
        "operations": session.operations,
        "signatures": session.signatures,
        "imported": sorted({name.split(".")[0] for name, loaded in sys.modules.items() if loaded}),
    }
    Path(answers).write_text(json.dumps(written), encoding="utf-8")


def _given(values):
    return [base64.b64decode(x["b64"]) if isinstance(x, dict) else x for x in values]


def _plain(value):
    """Strings and numbers, as JSON has them."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
