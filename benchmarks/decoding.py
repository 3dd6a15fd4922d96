"""Generation at the size of an OPUS-MT model: this library, transformers and CTranslate2.

    python benchmarks/decoding.py
    python benchmarks/decoding.py --batches 64 --beams 4

The weights are random and [END] is suppressed, so that all generate the same number of tokens.
CTranslate2 runs the model that this library exports, with each setting of threads; compare with
its fastest. The limit is the time of the matrix products of the decoder alone.
"""

import os

from report import LIMIT, Report, make_parser, rows_of
from turns import Variant, measure

OPUS_MT = {
    "tokens": 64,
    "layers": 6,
    "hidden_dim": 512,
    "heads": 8,
    "vocabulary": 11569,
    "source_length": 25,
}
SIZES = {**OPUS_MT, "max_new_tokens": 64}
ON_TORCH = {"KERAS_BACKEND": "torch"}  # so that TensorFlow is not imported


def variants() -> dict[str, Variant]:
    """Returns the variants; those of CTranslate2 use one core or all of them."""
    compared = {
        "keras_attention": Variant("steps.generation:keras_attention"),
        "transformers": Variant("steps.generation:transformers", environment=ON_TORCH),
    }
    cores = os.cpu_count() or 1
    for weights in ("float32", "int8"):
        for inter, intra in sorted({(1, 1), (1, cores), (cores, 1)}):
            threads = {"weights": weights, "inter_threads": inter, "intra_threads": intra}
            name = f"CTranslate2 {weights}, {inter} x {intra} threads"
            compared[name] = Variant("steps.generation:ctranslate2", threads)
    return {**compared, LIMIT: Variant("steps.generation:limit")}


def main():
    parser = make_parser(__doc__, rounds=5, **SIZES)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    report = Report(options)
    sizes = {name: getattr(options, name) for name in SIZES} | {"dtype_policy": "float32"}
    for batch in options.batches:
        for beams in options.beams:
            work = {**sizes, "batch": batch, "num_beams": beams}
            results = measure(variants(), work, options.rounds, warm_up=1)
            title = f"batch {batch}, {beams} beams"
            report.table(title, rows_of(results, batch * options.tokens))
    report.save()


if __name__ == "__main__":
    main()
