"""Time of a training step by operation and by part of the model, from TensorFlow's profiler.

    python benchmarks/profile_training.py transformer
    python benchmarks/profile_training.py rnn

The model and the sizes are those of `train_transformer.py` and `train_seq2seq.py`. The shares are
of the time of all operations; two of them may run at the same time.
"""

import re
from collections import Counter

import train_seq2seq
import train_transformer
from profiler import operation_of, profile
from report import Report, make_parser
from worker import make_run

MODELS = {
    "transformer": ("steps.transformer:keras_attention",
                    {**train_transformer.SIZES, "dtype_policy": "float32"}),
    "rnn": ("steps.rnn:keras_attention", {**train_seq2seq.SIZES, "attention": "bahdanau"}),
}  # fmt: skip

# Parts of a model by the names of their layers; the first that is found in an operation's name.
PARTS = {
    "optimizer": r"adam",
    "loss": r"cross_entropy",
    "logits": r"decoder\S*/tokens",
    "encoder's RNN": r"recurrent_encoder",
    "decoder's RNN": r"gru",
    "attention": r"query|key|value|bahdanau|output_\d+/|scores|BatchMatMul|transpose",
    "rest of the decoder's loop": r"decoder\S*/while",
    "feed-forward": r"feed_forward",
    "normalization": r"norm",
    "dropout": r"dropout",
    "embedding": r"embedding|tokens|positions",
}


def main():
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--batch", type=int, default=64, help="[64]")
    options = parser.parse_args()
    report = Report(options)
    step, sizes = MODELS[options.model]
    run = make_run(step, {**sizes, "batch": options.batch, "jit_compile": False})
    for _ in range(3):
        run()
    times = profile(run, options.rounds)
    for title, key in (("operation", operation_of), ("part", part_of)):
        totals: Counter = Counter()
        for name, milliseconds in times.items():
            totals[key(name)] += milliseconds / options.rounds
        rows = [
            {title: each, "ms": time, "share": f"{time / totals.total():.1%}"}
            for each, time in totals.most_common(15)
        ]
        report.table(f"{options.model}, by {title}", rows)
    report.save()


def part_of(name: str) -> str:
    """Returns the part of the model, and whether it is the forward or the backward pass."""
    part = next((part for part, pattern in PARTS.items() if re.search(pattern, name)), "other")
    if part in ("optimizer", "other"):
        return part
    return f"{part}, {'backward' if 'gradient' in name else 'forward'}"


if __name__ == "__main__":
    main()
