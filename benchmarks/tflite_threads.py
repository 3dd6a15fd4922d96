"""Generation in bulk with a TFLite file: interpreters, their threads, and rows of a call.

    python benchmarks/tflite_threads.py
    python benchmarks/tflite_threads.py --weights float32 --num-beams 1

The model has random weights and the size of an OPUS-MT model, and [END] is suppressed. Each variant
generates for the same lines in a process of its own that does not import TensorFlow.
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace

from decoding import OPUS_MT
from report import Report, make_parser, rows_of
from steps.tflite_file import write_file
from turns import Variant, measure

# (interpreters, threads of each, rows of a call); the first is what the others are compared with
VARIANTS = [(1, 2, 64), (1, 2, 8), (2, 1, 8), (2, 1, 4)]
SIZES = {**OPUS_MT, "batch": 64, "num_beams": 4}


def main():
    parser = make_parser(__doc__, rounds=3, **SIZES)
    parser.add_argument("--weights", default="int8", help="of the TFLite file [int8]")
    parser.add_argument("--file", type=Path, help="the file, written if it does not exist")
    options = parser.parse_args()
    report = Report(options)
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or Path(folder, "model.tflite")
        if not file.exists():
            write_file(file, SimpleNamespace(**vars(options)))
        variants = {}
        for interpreters, threads, rows in VARIANTS:
            name = f"{interpreters} interpreters, {threads} threads each, {rows} lines in a call"
            sizes = {"interpreters": interpreters, "threads": threads, "rows": rows}
            variants[name] = Variant("steps.tflite:generation", {"file": str(file), **sizes})
        work = {name: getattr(options, name) for name in SIZES}
        results = measure(variants, work, options.rounds, warm_up=1)
    title = f"{options.weights}, {options.batch} lines, {options.num_beams} beams"
    report.table(title, rows_of(results, options.batch * options.tokens))
    report.save()


if __name__ == "__main__":
    main()
