"""Generation of long outputs by a language model with and without a window.

    python benchmarks/window_generation.py --tokens 512 --batch 4 --num-beams 4

The variants are no window, a window with caches of the whole text, and a window whose caches stop
growing at it. The model has random weights. [END] is suppressed, so every run generates the same
number of tokens.
"""

from report import Report, make_parser, rows_of
from turns import Variant, measure

SIZES = {
    "tokens": 512,
    "window": 64,
    "batch": 4,
    "num_beams": 4,
    "length": 16,
    "layers": 4,
    "hidden_dim": 256,
    "heads": 4,
    "vocabulary": 1000,
}
STEP = "steps.causal_lm:generation"
VARIANTS = {
    "no window": Variant(STEP, {"window": None}),
    "window, whole caches": Variant(STEP, {"whole_caches": True}),
    "window": Variant(STEP),
}


def main() -> None:
    options = make_parser(__doc__, rounds=3, **SIZES).parse_args()
    report = Report(options)
    sizes = {name: getattr(options, name) for name in SIZES}
    sizes |= {"dtype_policy": "float32", "whole_caches": False}
    results = measure(VARIANTS, sizes, options.rounds, warm_up=1)
    rows = rows_of(results, options.batch * options.tokens, memory="step_memory")
    report.table(f"{options.tokens} tokens, {options.num_beams} beams", rows)
    report.save()


if __name__ == "__main__":
    main()
