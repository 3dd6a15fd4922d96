"""A trained task as TFLite files of different weights: sizes, scores and times beside a SavedModel.

python benchmarks/tflite_weights.py models/en-de --source test.en --references test.de
"""

import argparse
import tempfile
from itertools import islice
from pathlib import Path

from keras_attention.tasks import Translator
from keras_attention.text import read_lines

TIMED = 8  # sentences; the proofs of rounded files time as many


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", type=Path, help="a saved Translator")
    parser.add_argument("--source", type=Path, required=True, help="sentences, one a line")
    parser.add_argument("--references", type=Path, required=True, help="their translations")
    parser.add_argument("--count", type=int, default=200, help="of the sentences [200]")
    parser.add_argument("--weights", nargs="+", default=["int8", "int4", "float16"])
    options = parser.parse_args()
    task = Translator.load(options.task)
    sources = list(islice(read_lines(options.source), options.count))
    references = list(islice(read_lines(options.references), options.count))
    with tempfile.TemporaryDirectory() as scratch:
        exact = task.export(Path(scratch, "float32"), "tflite", sources[:TIMED])
        whole = exact["bytes"]["model.tflite"]
        print(f"float32: {whole / 1e6:.2f} MB, {milliseconds(exact):.1f} ms", flush=True)
        rounded = {"references": references, "allow_loss": True}
        spent = {"float32": milliseconds(exact)}
        for weights in options.weights:
            said = task.export(
                Path(scratch, weights), "tflite", sources, weights=weights, **rounded
            )
            size, spent[weights] = said["bytes"]["model.tflite"], milliseconds(said)
            agreement, scores = said["agreement"], said["scores"]
            print(
                f"{weights}: {size / 1e6:.2f} MB, {size / whole:.3f} of float32; "
                f"{agreement['compared'] - agreement['equal']} of {agreement['compared']} answers "
                f"differ from the model's; {scores['export']}, the model {scores['model']}; "
                f"{spent[weights]:.1f} ms",
                flush=True,
            )
        served = task.export(Path(scratch, "served"), "saved_model", sources[:TIMED])
        print(f"SavedModel, batch 1: {milliseconds(served):.1f} ms")
        for weights, each in spent.items():
            print(f"{weights}: {milliseconds(served) / each:.1f} times as fast as the SavedModel")


def milliseconds(said):
    """Median for one sentence."""
    return said["median_milliseconds"]["export"]


if __name__ == "__main__":
    main()
