"""Size, quality and latency of TFLite files by precision, compared with a SavedModel.

python benchmarks/tflite_weights.py models/en-de --source test.en --references test.de
"""

import tempfile
from itertools import islice
from pathlib import Path

from keras_attention.tasks import Translator
from keras_attention.text import read_lines
from report import Report, make_parser

NUM_TIMED = 8  # sentences; exports in reduced precision time as many


def main():
    parser = make_parser(__doc__)
    parser.add_argument("task", type=Path, help="a saved Translator")
    parser.add_argument("--source", type=Path, required=True, help="sentences, one per line")
    parser.add_argument("--references", type=Path, required=True, help="their translations")
    parser.add_argument("--count", type=int, default=200, help="number of sentences [200]")
    parser.add_argument("--weights", nargs="+", default=["int8", "int4", "float16"])
    options = parser.parse_args()
    tables = Report(options)
    task = Translator.load(options.task)
    sources = list(islice(read_lines(options.source), options.count))
    references = list(islice(read_lines(options.references), options.count))
    with tempfile.TemporaryDirectory() as scratch:
        served = task.export(Path(scratch, "served"), "saved_model", sources[:NUM_TIMED])
        exact = task.export(Path(scratch, "float32"), "tflite", sources[:NUM_TIMED])
        reports = {"float32": exact}
        for weights in options.weights:
            reports[weights] = task.export(
                Path(scratch, weights),
                "tflite",
                sources,
                weights=weights,
                references=references,
                allow_loss=True,
            )
    size = exact["bytes"]["model.tflite"]
    rows = []
    for weights, report in reports.items():
        agreement = report["agreement"]
        rows.append({
            "weights": weights,
            "file, MB": report["bytes"]["model.tflite"] / 1e6,
            "of float32": report["bytes"]["model.tflite"] / size,
            "ms": median_latency(report),
            "times as fast as the SavedModel": median_latency(served) / median_latency(report),
            "different": f"{agreement['compared'] - agreement['equal']} of {agreement['compared']}",
            "score": str(report.get("scores", {}).get("export", "-")),
            "score of the model": str(report.get("scores", {}).get("model", "-")),
        })  # fmt: skip
    tables.table(f"one sentence; SavedModel {median_latency(served):.1f} ms", rows)
    tables.save()


def median_latency(report):
    """Returns the median milliseconds for one sentence."""
    return report["median_milliseconds"]["export"]


if __name__ == "__main__":
    main()
