"""Runs a SavedModel with several releases of TensorFlow and compares the outputs.

    python .ci/check_tensorflow_versions.py saved_models/dates/1
    python .ci/check_tensorflow_versions.py serving/de-en/1 --releases 2.19.0 2.20.1

For each release it makes a virtual environment with TensorFlow Text, its TensorFlow, and nothing of
this project, loads the SavedModel and runs the samples in its `samples.json`. Strings and ids must
equal the recorded outputs, and numbers must be close. The exit status is 1 if any differ.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

# Of TensorFlow Text, each with the TensorFlow that it was built for.
RELEASES = ("2.18.1", "2.19.0", "2.20.1", "2.21.1")
RUN = """
import json, sys
import numpy as np, tensorflow as tf, tensorflow_text
folder = sys.argv[1]
samples = json.load(open(f"{folder}/samples.json", encoding="utf-8"))
run = tf.saved_model.load(folder).signatures[samples["signature"]]
different, largest = [], 0.0
for inputs, expected in zip(samples["inputs"], samples["outputs"], strict=True):
    outputs = run(**{name: tf.constant(values) for name, values in inputs.items()})
    for name, values in expected.items():
        got, values = outputs[name].numpy(), np.array(values)
        if values.dtype.kind == "f":
            largest = max(largest, float(np.abs(got - values).max()))
            equal = got.shape == values.shape and np.allclose(got, values, atol=1e-4, rtol=1e-4)
        else:
            if got.dtype.kind == "O":
                got = np.vectorize(bytes.decode, otypes=[object])(got)
            equal = got.tolist() == values.tolist()
        if not equal:
            different.append((inputs, name, got.tolist(), values.tolist()))
print(f"TensorFlow {tf.__version__}, TensorFlow Text {tensorflow_text.__version__}: "
      f"{len(samples['outputs'])} samples, {len(different)} outputs differ, "
      f"largest difference of a number {largest:.1e}")
for each in different:
    print(" ", *each)
sys.exit(bool(different))
"""


def main() -> int:
    """Checks each release; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=Path, help="folder of a version of a SavedModel")
    parser.add_argument("--releases", nargs="+", default=RELEASES, choices=RELEASES)
    options = parser.parse_args()
    failed = [each for each in options.releases if not check(options.version.resolve(), each)]
    if failed:
        print("failed with TensorFlow", *failed)
    return int(bool(failed))


def check(version: Path, release: str) -> bool:
    """Returns whether a release of TensorFlow gives the recorded outputs."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        install = [python, "-m", "pip", "install", "--quiet", f"tensorflow-text=={release}"]
        subprocess.run(install, check=True)
        ran = subprocess.run([python, "-c", RUN, str(version)], stdout=subprocess.PIPE, text=True)
    print(ran.stdout, end="", flush=True)
    return ran.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
