"""Training step of an encoder-decoder Transformer: this library, KerasHub and PyTorch.

    python benchmarks/train_transformer.py

Each of them trains the same architecture in float32 and in bfloat16; the two on Keras also under
XLA.
The limit is the time of the matrix products alone.
"""

from report import LIMIT, Report, make_parser, rows_of
from turns import Variant, measure

SIZES = {
    "batch": 64,
    "length": 20,
    "hidden_dim": 256,
    "heads": 4,
    "intermediate_dim": 1024,
    "layers": 3,
    "vocabulary": 8000,
}
XLA = {"jit_compile": True}
VARIANTS = {
    "keras_attention": Variant("steps.transformer:keras_attention"),
    "keras_attention, XLA": Variant("steps.transformer:keras_attention", XLA),
    "KerasHub": Variant("steps.transformer:keras_hub"),
    "KerasHub, XLA": Variant("steps.transformer:keras_hub", XLA),
    "PyTorch": Variant("steps.transformer:torch"),
    LIMIT: Variant("steps.transformer:limit"),
}


def main():
    options = make_parser(__doc__, **SIZES).parse_args()
    sizes = {name: getattr(options, name) for name in SIZES}
    report = Report(options)
    for policy in ("float32", "mixed_bfloat16"):
        training = {**sizes, "dtype_policy": policy, "jit_compile": False}
        results = measure(VARIANTS, training, options.rounds)
        tokens = options.batch * options.length
        report.table(f"training step, {policy}", rows_of(results, tokens))
    report.save()


if __name__ == "__main__":
    main()
