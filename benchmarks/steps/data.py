"""Random batches."""

import numpy as np


def random_batch(batch, length, vocabulary):
    """Returns random ids; the source lengths are between `length / 2` and `length`."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(length // 2, length + 1, (batch, 1))
    source = rng.integers(4, vocabulary, (batch, length), "int32")
    source = np.where(np.arange(length) < lengths, source, 0)
    target = rng.integers(4, vocabulary, (batch, length + 1), "int32")
    return {"source": source, "target": target[:, :-1]}, target[:, 1:]


def training_step(model, options):
    """Returns a function that trains an encoder-decoder on one batch."""
    x, labels = random_batch(options.batch, options.length, options.vocabulary)
    return fit_step(model, x, labels, options.jit_compile)


def fit_step(model, x, labels, jit_compile, block_size=None):
    """Returns a function that trains a Keras model on one batch."""
    compile_model(model, jit_compile, block_size)
    return lambda: float(model.train_on_batch(x, labels))


def compile_model(model, jit_compile, block_size=None):
    """Compiles a Keras model with Adam and the cross-entropy of this library."""
    import keras  # not in the environment of TensorFlow Addons

    from keras_attention.training import MaskedCrossEntropy

    loss = MaskedCrossEntropy(block_size=block_size)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=jit_compile)
