"""Check that no ratio to a peer or to the limit of the machine is far below what it was.

    python benchmarks/check_ratios.py

Ratios of times and memory within one run, with wide margins: a busy machine passes, a quadratic
memory or a loop over the whole `max_new_tokens` does not. Exits with status 1 otherwise.
"""

import sys
from dataclasses import dataclass

from report import LIMIT, Report, make_parser
from turns import Result, Variant, measure


@dataclass(frozen=True)
class Check:
    """Ratio of two variants that has an upper bound.

    Args:
        title: what is divided.
        over: variant of the numerator.
        under: variant of the denominator.
        options: sizes.
        bound: highest ratio that passes.
        usual: ratio when the bound was chosen, on a quiet machine.
        of: `"time"` or `"step_memory"`.
    """

    title: str
    over: Variant
    under: Variant
    options: dict
    bound: float
    usual: float
    of: str = "time"

    def ratio(self, over: Result, under: Result) -> float:
        """Returns the ratio of two results."""
        if self.of == "time":
            return over.ratio(under)
        return getattr(over, self.of) / getattr(under, self.of)


TRANSFORMER = {"batch": 16, "length": 20, "hidden_dim": 256, "heads": 4, "intermediate_dim": 1024,
               "layers": 2, "vocabulary": 4000, "dtype_policy": "float32",
               "jit_compile": False}  # fmt: skip
RNN = {"batch": 32, "length": 20, "embedding": 128, "units": 256, "vocabulary": 4000,
       "attention": "bahdanau", "jit_compile": False}  # fmt: skip
ATTENTION = {"batch": 1, "length": 2048, "heads": 8, "head_dim": 64, "dtype_policy": "float32"}
GENERATION = {"batch": 4, "source_length": 16, "tokens": 24, "num_beams": 4, "layers": 2,
              "hidden_dim": 256, "heads": 4, "vocabulary": 4000,
              "dtype_policy": "float32"}  # fmt: skip
CHECKS = [
    Check("time of a Transformer's training step / KerasHub's",
          Variant("steps.transformer:keras_attention"), Variant("steps.transformer:keras_hub"),
          TRANSFORMER, bound=1.3, usual=0.67),
    Check("time of an RNN's training step / its matrix products",
          Variant("steps.rnn:keras_attention"), Variant(f"steps.rnn:{LIMIT}"),
          RNN, bound=6.0, usual=1.84),
    Check("memory of fused attention / explicit",
          Variant("steps.attention:keras_attention"), Variant("steps.attention:explicit"),
          ATTENTION, bound=0.6, usual=0.24, of="step_memory"),
    Check("time of fused attention / explicit",
          Variant("steps.attention:keras_attention"), Variant("steps.attention:explicit"),
          ATTENTION, bound=1.8, usual=0.67),
    Check("time of generation with a limit of 512 / of 32",
          Variant("steps.generation:keras_attention", {"max_new_tokens": 512}),
          Variant("steps.generation:keras_attention", {"max_new_tokens": 32}),
          GENERATION, bound=1.6, usual=1.02),
]  # fmt: skip


def main():
    options = make_parser(__doc__, rounds=5).parse_args()
    report, rows, measured = Report(options), [], {}
    for check in CHECKS:
        pair = str((check.over, check.under))
        if pair not in measured:  # two checks may divide time and memory of the same
            both = {"over": check.over, "under": check.under}
            measured[pair] = measure(both, check.options, options.rounds)
        ratio = check.ratio(**measured[pair])
        rows.append({"ratio of": check.title, "usually": check.usual, "at most": check.bound,
                     "now": ratio, "": "passed" if ratio <= check.bound else "FAILED"})  # fmt: skip
    report.table("ratios", rows)
    report.save()
    sys.exit(any(row[""] == "FAILED" for row in rows))


if __name__ == "__main__":
    main()
