"""Training step of an RNN encoder-decoder: this library, keras.layers and TensorFlow Addons.

    python benchmarks/train_seq2seq.py --tfa FOLDER

The model is a GRU with the attention of Bahdanau or Luong, the latter with input feeding. FOLDER
gets an environment with TensorFlow Addons, which is used again the next time. The limit is the time
of the matrix products alone.
"""

from pathlib import Path

from report import LIMIT, Report, make_parser, rows_of
from tfa_environment import tfa_python
from turns import Variant, measure

SIZES = {"batch": 64, "length": 20, "embedding": 256, "units": 512, "vocabulary": 8000}
VARIANTS = {
    "keras_attention": Variant("steps.rnn:keras_attention"),
    "keras_attention, XLA": Variant("steps.rnn:keras_attention", {"jit_compile": True}),
    "keras.layers": Variant("steps.rnn:keras_layers"),
    LIMIT: Variant("steps.rnn:limit"),
}


def main():
    parser = make_parser(__doc__, **SIZES)
    parser.add_argument("--tfa", type=Path, help="folder of an environment, made if it is missing")
    options = parser.parse_args()
    variants = dict(VARIANTS)
    if python := tfa_python(options.tfa):
        variants["tfa"] = Variant("steps.tfa_rnn:tfa_wrapper", python=python)
    report = Report(options)
    sizes = {name: getattr(options, name) for name in SIZES}
    for attention in ("bahdanau", "luong"):
        training = {**sizes, "attention": attention, "jit_compile": False}
        results = measure(variants, training, options.rounds)
        tokens = options.batch * options.length
        report.table(f"training step, {attention}", rows_of(results, tokens))
    report.save()


if __name__ == "__main__":
    main()
