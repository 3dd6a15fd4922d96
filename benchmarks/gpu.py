"""Training, attention and generation on one GPU: this library and Keras on JAX, and PyTorch.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --tiny

It takes at most 15 minutes: measurements that would not end in time are left out. The variants run
one after the other, since each needs the memory of the GPU. `--tiny` checks the script in a minute,
also without a GPU. The limit is the time of the matrix products alone.
"""

import time

from report import LIMIT, Report, make_parser, rows_of
from turns import Variant, measure

ON_JAX = {"KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
MINUTES = 14

TRAINING = {"batch": 16, "length": 1024, "layers": 12, "hidden_dim": 768, "heads": 12,
            "vocabulary": 32000, "jit_compile": True}  # fmt: skip
ATTENTION = {"batch": 1, "heads": 16, "head_dim": 64}
LENGTHS = (1024, 4096, 16384)
GENERATION = {"batch": 64, "source_length": 25, "tokens": 64, "layers": 6, "hidden_dim": 512,
              "heads": 8, "vocabulary": 11569, "max_new_tokens": 64}  # fmt: skip
TINY = {"batch": 2, "length": 16, "layers": 1, "hidden_dim": 16, "heads": 2, "vocabulary": 50,
        "head_dim": 8, "source_length": 4, "tokens": 4, "max_new_tokens": 4}  # fmt: skip


def variants(module: str, *names: str) -> dict[str, Variant]:
    """Returns the variants of a module of `steps`, and its limit."""
    return {name: Variant(f"steps.{module}:{name}", environment=ON_JAX) for name in names} | {
        LIMIT: Variant(f"steps.{module}:limit", environment=ON_JAX)
    }


def work(tiny: bool):
    """Yields (title, variants, options, tokens) of each table, the most important first."""
    policy = {"dtype_policy": "mixed_bfloat16"}

    def sizes(options, **others):
        shrunk = {name: min(x, TINY.get(name, x)) if tiny else x for name, x in options.items()}
        return {**shrunk, **policy, **others}

    training = sizes(TRAINING)
    tokens = training["batch"] * training["length"]
    yield "training step", variants("causal_lm", "keras_attention", "torch"), training, tokens
    for length in (TINY["length"],) if tiny else LENGTHS:
        attention = variants("attention", "keras_attention", "keras_layer", "torch")
        yield f"attention, length {length:,}", attention, sizes(ATTENTION, length=length), 0
    for beams in (1, 4):
        generation = sizes(GENERATION, num_beams=beams)
        tokens = generation["batch"] * generation["tokens"]
        yield (f"generation, {beams} beams", variants("generation", "keras_attention",
               "transformers"), generation, tokens)  # fmt: skip


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--tiny", action="store_true", help="small sizes, to check the script")
    options = parser.parse_args()
    report, end = Report(options), time.monotonic() + 60 * MINUTES
    for title, compared, sizes, tokens in work(options.tiny):
        results = {}
        for name, variant in compared.items():
            left = end - time.monotonic()
            results |= measure({name: variant}, sizes, options.rounds, timeout=left)
        if results:
            report.table(title, rows_of(results, tokens))
    report.save()


if __name__ == "__main__":
    main()
