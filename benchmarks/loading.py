"""Time and memory until a loaded export has processed one text, by Keras's backend.

python benchmarks/loading.py saved_models/dates/tflite-int8 --text "tuesday 3 march 98"
"""

from pathlib import Path

from report import Report, make_parser
from turns import Variant, measure

BACKENDS = ("tensorflow", "jax", "torch")


def main():
    parser = make_parser(__doc__, rounds=1)
    parser.add_argument("folder", type=Path, help="an export")
    parser.add_argument("--text", required=True)
    options = parser.parse_args()
    report = Report(options)
    work = {"folder": str(options.folder), "text": options.text}
    rows = []
    for backend in BACKENDS:
        variant = Variant("steps.loading:exported", environment={"KERAS_BACKEND": backend})
        results = measure({backend: variant}, work, options.rounds, warm_up=1)
        for name, result in results.items():
            rows.append({"backend": name, "s": result.first_seconds, "MB": result.memory})
    report.table("until the first result, imports included", rows)
    report.save()


if __name__ == "__main__":
    main()
