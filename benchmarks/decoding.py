"""Generation at the size of an OPUS-MT model: Keras, TFLite, transformers and CTranslate2.

    python benchmarks/decoding.py
    python benchmarks/decoding.py --batches 64 --beams 4
    python benchmarks/decoding.py --variants "attention|TFLite|2 x 1"

The weights are random and [END] is suppressed, so that all generate the same number of tokens.
TFLite files and CTranslate2 models are those that this library exports. A TFLite file runs one
sentence with all cores, and more in one interpreter for each core. CTranslate2 runs with each
setting of threads; compare with its fastest. The limit of one sentence is the time in which the
machine reads the weights of the decoder for each token, of float32 or of int8. That of more is the
time of the matrix products of the decoder alone.
"""

import os
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

from report import LIMIT, Report, make_parser, rows_of
from steps.tflite_file import write_file
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
WEIGHTS = ("float32", "int8")
ROWS = 4  # sentences in a call of a TFLite file
ON_TORCH = {"KERAS_BACKEND": "torch"}  # so that TensorFlow is not imported


def variants(files: dict[str, Path], batch: int) -> dict[str, Variant]:
    """Returns the variants.

    Args:
        files: TFLite files by their weights.
        batch: number of sentences.
    """
    cores = os.cpu_count() or 1
    compared = {
        "keras_attention": Variant("steps.generation:keras_attention"),
        "Keras int8": Variant("steps.generation:keras_int8"),
        "Keras bfloat16": Variant("steps.generation:keras_attention", {"dtype_policy": "bfloat16"}),
    }
    parts = {"interpreters": 1, "threads": cores, "rows": 1}
    if batch > 1:
        parts = {"interpreters": cores, "threads": 1, "rows": min(ROWS, -(-batch // cores))}
    for weights, file in files.items():
        options = {"file": str(file), **parts}
        compared[f"TFLite {weights}"] = Variant("steps.tflite:generation", options)
    compared["transformers"] = Variant("steps.generation:transformers", environment=ON_TORCH)
    for weights in WEIGHTS:
        for inter, intra in sorted({(1, 1), (1, cores), (cores, 1)}):
            threads = {"weights": weights, "inter_threads": inter, "intra_threads": intra}
            name = f"CTranslate2 {weights}, {inter} x {intra} threads"
            compared[name] = Variant("steps.generation:ctranslate2", threads)
    if batch > 1:
        return {**compared, LIMIT: Variant("steps.generation:limit")}
    limits = {LIMIT: "float32", f"{LIMIT} of int8": "int8"}
    reading = "steps.generation:read_weights"
    return {
        **compared,
        **{name: Variant(reading, {"weights": weights}) for name, weights in limits.items()},
    }


def main():
    parser = make_parser(__doc__, rounds=5, **SIZES)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--variants", default="", help="regular expression of their names [all]")
    options = parser.parse_args()
    report = Report(options)
    sizes = {name: getattr(options, name) for name in SIZES} | {"dtype_policy": "float32"}
    for beams in options.beams:
        with tempfile.TemporaryDirectory() as folder:
            files = {weights: Path(folder, f"{weights}.tflite") for weights in WEIGHTS}
            for weights, file in files.items():
                write_file(file, SimpleNamespace(**sizes, num_beams=beams, weights=weights))
            for batch in options.batches:
                work = {**sizes, "batch": batch, "num_beams": beams}
                chosen = {
                    name: variant
                    for name, variant in variants(files, batch).items()
                    if re.search(options.variants, name) or name.startswith(LIMIT)
                }
                results = measure(chosen, work, options.rounds, warm_up=1)
                title = f"batch {batch}, {beams} beams"
                report.table(title, rows_of(results, batch * options.tokens))
    report.save()


if __name__ == "__main__":
    main()
