"""Time and memory of causal multi-head attention by length, forward and backward.

    python benchmarks/attention.py --lengths 512 1024 2048 4096

This library's fused and explicit forms, Keras's layer and PyTorch. The memory is what the length
adds to each process. The limit is the time of the matrix products of half of the pairs.
"""

from report import LIMIT, Report, make_parser, rows_of
from turns import Variant, measure

SIZES = {"batch": 1, "heads": 8, "head_dim": 64}
VARIANTS = {
    "keras_attention": Variant("steps.attention:keras_attention"),
    "explicit": Variant("steps.attention:explicit"),
    "keras.layers": Variant("steps.attention:keras_layer"),
    "PyTorch": Variant("steps.attention:torch"),
    LIMIT: Variant("steps.attention:limit"),
}


def main():
    parser = make_parser(__doc__, **SIZES)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    parser.add_argument("--max-quadratic", type=int, default=4096,
                        help="longest with the weights of all pairs in memory [4096]")  # fmt: skip
    parser.add_argument("--block-sizes", type=int, nargs="+", default=[],
                        help="further block sizes of the fused form")  # fmt: skip
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    report = Report(options)
    for length in options.lengths:
        quadratic = () if length <= options.max_quadratic else ("explicit", "keras.layers")
        variants = {name: VARIANTS[name] for name in options.variants if name not in quadratic}
        for size in options.block_sizes:
            variants[f"block size {size:,}"] = Variant(
                "steps.attention:keras_attention", {"block_size": size}
            )
        sizes = {name: getattr(options, name) for name in SIZES}
        sizes |= {"length": length, "dtype_policy": "float32"}
        results = measure(variants, sizes, options.rounds, warm_up=1)
        rows = rows_of(results, memory="step_memory")
        report.table(f"attention, length {length:,}", rows)
    report.save()


if __name__ == "__main__":
    main()
