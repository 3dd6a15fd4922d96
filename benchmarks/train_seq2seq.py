"""Milliseconds of a training step and of greedy decoding, plain and with XLA.

    python benchmarks/train_seq2seq.py

GRU with Bahdanau attention at the sizes of Bahdanau's time. What is compared takes turns in one
process, so that a busy machine slows all of it alike; the medians are printed.
"""

import argparse
import statistics
import time

import keras
import numpy as np

from keras_attention.generation import Generator, Greedy
from keras_attention.models import seq2seq
from keras_attention.training import MaskedCrossEntropy


def data(batch, length, vocabulary):
    """Random ids; each source has between half and all of the length."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(length // 2, length + 1, (batch, 1))
    source = rng.integers(4, vocabulary, (batch, length), "int32")
    source = np.where(np.arange(length) < lengths, source, 0)
    target = rng.integers(4, vocabulary, (batch, length + 1), "int32")
    return {"source": source, "target": target[:, :-1]}, target[:, 1:]


def trainer(options, jit_compile):
    """A function that runs one step of training."""
    x, labels = data(options.batch, options.length, options.vocabulary)
    model = seq2seq(
        options.vocabulary, options.vocabulary, options.embedding, options.units, dropout=0.0
    )
    model.compile(keras.optimizers.Adam(1e-4), MaskedCrossEntropy(), jit_compile=jit_compile)
    return lambda: float(model.train_on_batch(x, labels))


def writer(options, jit_compile):
    """A function that writes `length` tokens for each source (END is rare before training)."""
    import tensorflow as tf

    x, _ = data(options.batch, options.length, options.vocabulary)
    model = seq2seq(options.vocabulary, options.vocabulary, options.embedding, options.units)
    generator = Generator(model, Greedy(max_length=options.length))
    compiled = tf.function(generator.__call__, jit_compile=jit_compile)
    source = tf.constant(x["source"])
    return lambda: compiled(source)["ids"].numpy()


def medians(runs, rounds, warm_up=3):
    """Median milliseconds of each function, taking turns."""
    spent = {name: [] for name in runs}
    for turn in range(rounds + warm_up):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= warm_up:
                spent[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in spent.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = dict(batch=64, length=20, embedding=256, units=512, vocabulary=8000, rounds=10)
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"[{size}]")
    options = parser.parse_args()
    print(", ".join(f"{name} {getattr(options, name)}" for name in sizes))
    for title, make in (("training step", trainer), ("greedy decoding", writer)):
        runs = {"plain": make(options, False), "XLA": make(options, True)}
        found = medians(runs, options.rounds)
        ratio = found["plain"] / found["XLA"]
        tokens = 1000 * options.batch * options.length / found["XLA"]
        print(
            f"{title}: plain {found['plain']:.1f} ms, XLA {found['XLA']:.1f} ms, "
            f"{ratio:.2f} times as fast, {tokens:,.0f} target tokens a second"
        )


if __name__ == "__main__":
    main()
