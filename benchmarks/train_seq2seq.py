"""Milliseconds of a training step and of greedy decoding, plain and with XLA.

    python benchmarks/train_seq2seq.py

GRU with Bahdanau attention at the sizes of Bahdanau's time. What is compared takes turns in one
process, so that a busy machine slows all of it alike; the medians are printed.
"""

import keras
from timing import data, medians, sizes

from keras_attention.generation import Generator, GreedySearch
from keras_attention.models import seq2seq
from keras_attention.training import MaskedCrossEntropy


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
    generator = Generator(model, GreedySearch(max_new_tokens=options.length))
    compiled = tf.function(generator.__call__, jit_compile=jit_compile)
    source = tf.constant(x["source"])
    return lambda: compiled(source)["ids"].numpy()


def main():
    options = sizes(
        __doc__, batch=64, length=20, embedding=256, units=512, vocabulary=8000, rounds=10
    )
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
