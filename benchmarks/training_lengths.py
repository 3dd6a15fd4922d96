"""Training step of a graph of unknown length, by the form of its attention.

    python benchmarks/training_lengths.py --length 64 --batch 16
    python benchmarks/training_lengths.py --length 2048 --batch 2 --rounds 2

A causal language model is trained with explicit attention and with attention that is chosen at run
time. The limit is the time of the matrix products alone.
"""

from report import LIMIT, Report, make_parser, rows_of
from turns import Variant, measure

SIZES = {"batch": 16, "length": 64, "layers": 2, "hidden_dim": 256, "heads": 4, "vocabulary": 1000}
STEP = "steps.causal_lm:unknown_length"
VARIANTS = {
    "explicit": Variant(STEP, {"explicit": True}),
    "chosen": Variant(STEP, {"explicit": None}),
    LIMIT: Variant("steps.causal_lm:limit"),
}


def main() -> None:
    parser = make_parser(__doc__, rounds=40, **SIZES)
    parser.add_argument("--xla", action="store_true", help="compile with XLA")
    options = parser.parse_args()
    report = Report(options)
    sizes = {name: getattr(options, name) for name in SIZES}
    sizes |= {"dtype_policy": "float32", "jit_compile": options.xla}
    results = measure(VARIANTS, sizes, options.rounds)
    report.table("training step", rows_of(results, options.batch * options.length))
    report.save()


if __name__ == "__main__":
    main()
