"""Size, quality and latency of TFLite files by precision, compared with a SavedModel.

python benchmarks/tflite_weights.py models/en-de --source test.en --references test.de
"""

import argparse
import tempfile
from itertools import islice
from pathlib import Path

from keras_attention.tasks import Translator
from keras_attention.text import read_lines

NUM_TIMED = 8  # sentences; exports in reduced precision time as many


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", type=Path, help="a saved Translator")
    parser.add_argument("--source", type=Path, required=True, help="sentences, one per line")
    parser.add_argument("--references", type=Path, required=True, help="their translations")
    parser.add_argument("--count", type=int, default=200, help="number of sentences [200]")
    parser.add_argument("--weights", nargs="+", default=["int8", "int4", "float16"])
    options = parser.parse_args()
    task = Translator.load(options.task)
    sources = list(islice(read_lines(options.source), options.count))
    references = list(islice(read_lines(options.references), options.count))
    with tempfile.TemporaryDirectory() as scratch:
        exact = task.export(Path(scratch, "float32"), "tflite", sources[:NUM_TIMED])
        full_size = exact["bytes"]["model.tflite"]
        print(f"float32: {full_size / 1e6:.2f} MB, {median_latency(exact):.1f} ms", flush=True)
        export_options = {"references": references, "allow_loss": True}
        latency = {"float32": median_latency(exact)}
        for weights in options.weights:
            report = task.export(
                Path(scratch, weights), "tflite", sources, weights=weights, **export_options
            )
            size, latency[weights] = report["bytes"]["model.tflite"], median_latency(report)
            agreement, scores = report["agreement"], report["scores"]
            print(
                f"{weights}: {size / 1e6:.2f} MB, {size / full_size:.3f} of float32; "
                f"{agreement['compared'] - agreement['equal']} of {agreement['compared']} outputs "
                f"differ from the model's; {scores['export']}, the model {scores['model']}; "
                f"{latency[weights]:.1f} ms",
                flush=True,
            )
        served = task.export(Path(scratch, "served"), "saved_model", sources[:NUM_TIMED])
        print(f"SavedModel, batch 1: {median_latency(served):.1f} ms")
        for weights, milliseconds in latency.items():
            speedup = median_latency(served) / milliseconds
            print(f"{weights}: {speedup:.1f} times as fast as the SavedModel")


def median_latency(report):
    """Returns the median milliseconds for one sentence."""
    return report["median_milliseconds"]["export"]


if __name__ == "__main__":
    main()
