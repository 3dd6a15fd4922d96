"""Training step with the logits of all tokens in memory and with those of a block.

    python benchmarks/blockwise_loss.py

A causal language model with a large vocabulary is trained with `MaskedCrossEntropy` and several
values of `block_size`. The limit is the time of the matrix products alone, with all logits.
"""

from report import LIMIT, Report, make_parser, rows_of
from turns import Variant, measure

SIZES = {
    "batch": 16,
    "length": 128,
    "layers": 2,
    "hidden_dim": 256,
    "heads": 4,
    "vocabulary": 32000,
}
STEP = "steps.causal_lm:blockwise_loss"


def main() -> None:
    parser = make_parser(__doc__, rounds=5, **SIZES)
    parser.add_argument("--block-sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--xla", action="store_true", help="compile with XLA")
    options = parser.parse_args()
    report = Report(options)
    sizes = {name: getattr(options, name) for name in SIZES}
    sizes |= {"dtype_policy": "float32", "jit_compile": options.xla}
    variants = {
        f"block_size={size}": Variant(STEP, {"block_size": size})
        for size in (None, *options.block_sizes)
    }
    variants[LIMIT] = Variant("steps.causal_lm:limit")
    results = measure(variants, sizes, options.rounds)
    rows = rows_of(results, options.batch * options.length, memory="step_memory")
    report.table("training step", rows)
    report.save()


if __name__ == "__main__":
    main()
