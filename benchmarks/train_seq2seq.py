"""Times a training step and greedy decoding of an RNN, in a plain graph and with XLA.

    python benchmarks/train_seq2seq.py

The model is a GRU with Bahdanau attention. The variants take turns in one process, so that other
load on the machine slows all of them alike. Median times are printed.
"""

import keras
from timing import median_milliseconds, parse_sizes, random_batch

from keras_attention.generation import Generator, GreedySearch
from keras_attention.models import seq2seq
from keras_attention.training import MaskedCrossEntropy


def make_training_step(options, jit_compile):
    """Returns a function that runs one training step."""
    x, labels = random_batch(options.batch, options.length, options.vocabulary)
    model = seq2seq(
        options.vocabulary, options.vocabulary, options.embedding, options.units, dropout=0.0
    )
    model.compile(keras.optimizers.Adam(1e-4), MaskedCrossEntropy(), jit_compile=jit_compile)
    return lambda: float(model.train_on_batch(x, labels))


def make_decoding(options, jit_compile):
    """Returns a function that generates up to `length` tokens for each source.

    An untrained model rarely generates `[END]`.
    """
    import tensorflow as tf

    x, _ = random_batch(options.batch, options.length, options.vocabulary)
    model = seq2seq(options.vocabulary, options.vocabulary, options.embedding, options.units)
    generator = Generator(model, GreedySearch(max_new_tokens=options.length))
    compiled = tf.function(generator.__call__, jit_compile=jit_compile)
    inputs = {"source": tf.constant(x["source"])}
    return lambda: compiled(inputs)["ids"].numpy()


def main():
    options = parse_sizes(
        __doc__, batch=64, length=20, embedding=256, units=512, vocabulary=8000, rounds=10
    )
    for title, make in (("training step", make_training_step), ("greedy decoding", make_decoding)):
        runs = {"plain": make(options, False), "XLA": make(options, True)}
        times = median_milliseconds(runs, options.rounds)
        ratio = times["plain"] / times["XLA"]
        tokens = 1000 * options.batch * options.length / times["XLA"]
        print(
            f"{title}: plain {times['plain']:.1f} ms, XLA {times['XLA']:.1f} ms, "
            f"{ratio:.2f} times as fast, {tokens:,.0f} target tokens per second"
        )


if __name__ == "__main__":
    main()
