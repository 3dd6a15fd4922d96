"""Times a training step, traced for any length, by the form of its attention.

    python benchmarks/training_lengths.py --length 64 --batch 16
    python benchmarks/training_lengths.py --length 2048 --batch 2 --rounds 0 --forms chosen

A causal language model is trained with attention that is chosen at run time and with explicit
attention. The variants take turns, and the ratio is the median of those of each turn. The peak
memory is that of the process and so has a meaning for a single form only.
"""

import argparse
import resource
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from keras_attention.models import causal_lm
from keras_attention.ops.fused import explicit_scope
from keras_attention.training import MaskedCrossEntropy

FORMS = {"explicit": True, "chosen": None}
VOCABULARY = 1000


def make_step(form: str, options: argparse.Namespace):
    """Returns a function that runs one step of `fit` in a graph of unknown length."""
    keras.utils.set_random_seed(0)
    sizes = {"num_layers": options.layers, "hidden_dim": 256, "intermediate_dim": 1024}
    model = causal_lm(VOCABULARY, size="tiny", num_heads=4, **sizes)
    model.compile(keras.optimizers.Adam(1e-4), MaskedCrossEntropy(), jit_compile=options.xla)
    shape = options.batch, options.length + 1
    ids = np.random.default_rng(0).integers(4, VOCABULARY, shape, "int32")
    spec = tf.TensorSpec((None, None), tf.int32)
    batches = tf.data.Dataset.from_generator(
        lambda: iter([(ids[:, :-1], ids[:, 1:])]), output_signature=(spec, spec)
    )
    iterator = iter(batches.repeat())
    model.make_train_function()

    def step():
        with explicit_scope(FORMS[form]):
            return model.train_function(iterator)["loss"].numpy()

    return step


def peak_memory() -> float:
    """Returns the peak memory of the process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    options = parser.parse_args()
    steps, times = {}, {form: [] for form in options.forms}
    for form in options.forms:
        memory, start = peak_memory(), time.process_time()
        steps[form] = make_step(form, options)
        steps[form]()
        seconds = time.process_time() - start
        steps[form]()
        print(f"{form}: {seconds:.1f} s of CPU time until the first step has run, "
              f"{peak_memory() - memory:.0f} MB", flush=True)  # fmt: skip
    for _ in range(options.rounds):
        for form, step in steps.items():
            start = time.perf_counter()
            step()
            times[form].append(1000 * (time.perf_counter() - start))
    if options.rounds:
        for form in options.forms:
            ratios = [x / y for x, y in zip(times[form], times[options.forms[0]], strict=True)]
            print(f"{form}: {statistics.median(times[form]):.0f} ms, ratio to "
                  f"{options.forms[0]} {statistics.median(ratios):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
