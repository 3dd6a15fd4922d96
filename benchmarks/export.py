"""Time and memory of an export, conversion and verification, of a translator of OPUS-MT size.

    python benchmarks/export.py
    python benchmarks/export.py --formats tflite --sentences 2

The weights are random and [END] is suppressed, so that each sentence is verified on all tokens.
Each export is made by a process of its own.
"""

from decoding import OPUS_MT
from report import Report, make_parser
from turns import Variant, measure

FORMATS = ("tflite", "saved_model")


def main():
    parser = make_parser(__doc__, rounds=1, **OPUS_MT, sentences=20, num_beams=4)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    options = parser.parse_args()
    report = Report(options)
    sizes = {name: getattr(options, name) for name in (*OPUS_MT, "sentences", "num_beams")}
    rows = []
    for format in options.formats:
        variant = Variant("steps.export:export", {"format": format, "weights": "float32"})
        results = measure({format: variant}, sizes, options.rounds, warm_up=0)
        rows += [
            {"format": name, "s": result.median / 1000, "MB": result.memory}
            for name, result in results.items()
        ]
    report.table(f"{options.sentences} sentences, {options.tokens} tokens", rows)
    report.save()


if __name__ == "__main__":
    main()
