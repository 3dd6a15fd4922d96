"""Trains a small model on several devices or processes of JAX, for `test_jax.py`.

    PYTHONPATH=tests KERAS_BACKEND=jax XLA_FLAGS=--xla_force_host_platform_device_count=4 \
        python -m distributed.train_on_jax OUTPUT --family transformer --distribution model

It writes the weights and ids that the model generates to the file OUTPUT.
"""

import argparse
import os
import signal

import keras
import numpy as np
from keras import distribution

from keras_attention.generation import BeamSearch
from keras_attention.models import causal_lm, seq2seq, transformer
from keras_attention.training import (
    BackupTraining,
    MaskedCrossEntropy,
    Perplexity,
    SetEpoch,
    ShuffledBatches,
    TokenAccuracy,
    get_layout_map,
)

V = 16
SMALL = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 32, "num_heads": 4}
GEMMA = {"activation": "swiglu", "num_key_value_heads": 2, "norm_kind": "rms"}
FAMILIES = {
    "transformer": lambda dropout: transformer(V, V, "tiny", dropout=dropout, **SMALL),
    "causal_lm": lambda dropout: causal_lm(V, dropout=dropout, **SMALL, **GEMMA),
    "seq2seq": lambda dropout: seq2seq(V, V, 16, 16, dropout=dropout),
}
MESHES = {"model": (2, 2), "fully_sharded": (2, 2), "model_only": (1, 2)}


class Kill(keras.callbacks.Callback):
    """Ends the process at once in the middle of an epoch."""

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch
        self.is_now = False

    def on_epoch_begin(self, epoch, logs=None):
        self.is_now = epoch == self.epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.is_now and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def make_distribution(name):
    devices = distribution.list_devices()
    if name == "data":
        return distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    mesh = distribution.DeviceMesh(MESHES[name], ("batch", "model"), devices)
    layout_map = get_layout_map(
        mesh, data_parallel_dim_name="batch" if name == "fully_sharded" else None
    )
    return distribution.ModelParallel(layout_map=layout_map, auto_shard_dataset=False)


def make_batches(family, rows):
    """Returns batches of at most 4 rows of different lengths, with a weight for each row."""
    rng = np.random.default_rng(1)
    ids = rng.integers(4, V, (rows, 9))
    for row in range(rows):
        ids[row, [9, 3, 5, 9, 2, 7, 4, 1, 8, 6, 3][row] :] = 0
    starts = np.concatenate([np.ones((rows, 1), ids.dtype), ids[:, :-1]], axis=1)
    inputs = starts if family == "causal_lm" else {"source": ids, "target": starts}
    weights = rng.uniform(0.5, 2, rows).astype("float32")
    return ShuffledBatches([((inputs, ids, weights), 4)], seed=3), ids


def train(options):
    keras.utils.set_random_seed(0)
    if options.processes > 1:
        address = f"localhost:{options.port}"
        distribution.initialize(address, options.processes, options.process)
    num_shards, index = 1, None
    if options.distribution != "none":
        chosen = make_distribution(options.distribution)
        distribution.set_distribution(chosen)
        num_shards = chosen.num_model_replicas
        index = options.process if options.processes == num_shards else None
    model = FAMILIES[options.family](options.dropout)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=1.0),
        MaskedCrossEntropy(label_smoothing=0.1, block_size=options.block_size),
        metrics=[TokenAccuracy(), Perplexity()],
    )
    batches, ids = make_batches(options.family, options.rows)
    batches = batches.shard(num_shards, index)
    callbacks = [SetEpoch(batches)]
    if options.backup:
        callbacks.append(BackupTraining(options.backup))
    if options.kill_in_epoch:
        callbacks.append(Kill(options.kill_in_epoch))
    history = model.fit(
        batches, epochs=options.epochs, shuffle=False, verbose=0, callbacks=callbacks
    )
    arrays = dict(enumerate_weights(model))
    if options.generate:
        arrays["generated"] = model.generate(ids[:3, :4], BeamSearch(2, max_new_tokens=6)).ids
    arrays["perplexity"] = np.array(history.history["perplexity"])
    arrays["token_accuracy"] = np.array(history.history["token_accuracy"])
    arrays["epochs"] = np.array(history.epoch)
    arrays["largest_share"] = np.array(largest_share(model))
    np.savez(options.output, **arrays)


def enumerate_weights(model):
    from keras_attention.training.state import MODEL_FILE, read_state

    for number, weight in enumerate(read_state(model)[MODEL_FILE]):
        yield f"weight_{number:03d}", weight


def largest_share(model):
    """Returns the part of all weights of matrices that one device has."""
    matrices = [weight.value for weight in model.weights if len(weight.shape) == 2]
    here = sum(matrix.addressable_shards[0].data.size for matrix in matrices)
    return here / sum(matrix.size for matrix in matrices)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--family", default="transformer")
    parser.add_argument("--distribution", default="none")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--port", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--block-size", type=int)
    parser.add_argument("--generate", action="store_true")
    parser.add_argument("--backup")
    parser.add_argument("--kill-in-epoch", type=int)
    train(parser.parse_args())
