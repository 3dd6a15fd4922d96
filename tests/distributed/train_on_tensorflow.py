"""Trains small models on one or two devices of TensorFlow, for `test_tensorflow.py`.

    PYTHONPATH=tests python -m distributed.train_on_tensorflow OUTPUT --strategy mirrored

It writes the weights and metrics of each model to the file OUTPUT.
"""

import argparse
import contextlib

import keras
import numpy as np
import tensorflow as tf

from keras_attention.models import seq2seq, transformer
from keras_attention.training import MaskedCrossEntropy, Perplexity, TokenAccuracy

V = 16
SMALL = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 32, "num_heads": 4, "dropout": 0.0}
MODELS = {
    "transformer": lambda: transformer(V, V, "tiny", **SMALL),
    "seq2seq": lambda: seq2seq(V, V, 16, 16, dropout=0.0),
}


def make_strategy(name):
    if name == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return None


def train(name, strategy):
    """Trains on two batches, the halves of which have very different numbers of tokens."""
    rng = np.random.default_rng(1)
    ids = rng.integers(4, V, (8, 9))
    for row, length in enumerate([9, 8, 2, 1, 2, 1, 7, 9]):
        ids[row, length:] = 0
    starts = np.concatenate([np.ones((8, 1), ids.dtype), ids[:, :-1]], axis=1)
    inputs = {"source": ids, "target": starts}
    weights = rng.uniform(0.5, 2, 8).astype("float32")
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = MODELS[name]()
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            MaskedCrossEntropy(label_smoothing=0.1, block_size=8 if name == "seq2seq" else None),
            metrics=[TokenAccuracy(), Perplexity()],
        )
    data = tf.data.Dataset.from_tensor_slices((inputs, ids, weights)).batch(4)
    history = model.fit(data, epochs=2, verbose=0).history
    for number, weight in enumerate(model.get_weights()):
        yield f"{name}/weight_{number}", weight
    for metric in ("token_accuracy", "perplexity"):
        yield f"{name}/{metric}", np.array(history[metric])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--strategy")
    options = parser.parse_args()
    strategy = make_strategy(options.strategy)
    arrays = {}
    for name in MODELS:
        arrays.update(train(name, strategy))
    np.savez(options.output, **arrays)
