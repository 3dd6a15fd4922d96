"""Trains a Transformer on a machine with a GPU and JAX but no TensorFlow, to copy and change.

    python examples/train_on_jax.py pack train.en train.de --output packed
    KERAS_BACKEND=jax python examples/train_on_jax.py train packed --epochs 27 --average 10
    keras-attention evaluate packed --source test.en --target test.de --num-beams 5

The tokenizers need TensorFlow, so the first and the last command need it. The second does not: it
needs the folder, `keras_attention` and Keras. Run again, it continues with the trained model.
"""

import argparse
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np

from keras_attention.training import AverageCheckpoints, MaskedCrossEntropy, Noam, ShuffledBatches
from keras_attention.utils.atomic_io import replace_folder
from keras_attention.utils.manifest import read_manifest, write_manifest

SIDES = "source", "target", "labels"


def pack(options):
    """Writes an untrained translator and the pairs as arrays of ids, grouped by length."""
    from keras_attention.generation import BeamSearch
    from keras_attention.models import transformer
    from keras_attention.tasks import Translator
    from keras_attention.text import SentencePieceTokenizer, bucketed_batches, read_parallel

    if options.output.exists():
        sys.exit(f"`--output` must not exist. Received: --output {options.output}")
    pairs = read_parallel(options.source, options.target)
    lines = [line for side in zip(*pairs, strict=True) for line in side]
    tokenizer = SentencePieceTokenizer.train(
        lines, options.vocabulary, model_type="bpe", lowercase=True
    )
    size = tokenizer.vocabulary_size
    keras.utils.set_random_seed(options.seed)
    model = transformer(size, size, options.size, norm="post", share_embeddings=True)
    strategy = BeamSearch(5, max_new_tokens=options.max_length, length_penalty=1.0)
    Translator(model, tokenizer, tokenizer, strategy).save(options.output)

    limits = {"max_length": options.max_length, "batch_tokens": options.batch_tokens}
    batches = bucketed_batches(
        pairs, tokenizer, tokenizer, options.batch_tokens, shuffle=False, **limits
    )
    by_length = defaultdict(list)
    for inputs, labels in batches:  # (B, L) each
        by_length[labels.shape[1]].append((inputs["source"], inputs["target"], labels))
    arrays = {}
    for length, rows in by_length.items():
        arrays[f"size_{length}"] = len(rows[0][0])
        for side, parts in zip(SIDES, zip(*rows, strict=True), strict=True):
            arrays[f"{side}_{length}"] = np.concatenate(parts)
    np.savez_compressed(options.output / "pairs.npz", **arrays)


def read_batches(path, seed):
    """Returns batches of the pairs that `pack` wrote.

    The last batch of a length is filled with pairs that are already in the epoch. Each length thus
    has one batch shape, for which XLA compiles one step.
    """
    groups = []
    with np.load(path) as file:
        lengths = [name.removeprefix("size_") for name in file if name.startswith("size_")]
        for length in lengths:
            source, target, labels = (file[f"{side}_{length}"] for side in SIDES)
            size = int(file[f"size_{length}"])
            rows = np.arange(-(-len(labels) // size) * size) % len(labels)
            examples = {"source": source[rows], "target": target[rows]}, labels[rows]
            groups.append((examples, size))
    return ShuffledBatches(groups, seed=seed)


def train(options):
    """Trains the translator's model and replaces it by the mean of the last epochs' weights."""
    keras.utils.set_random_seed(options.seed)
    epochs = options.folder.with_name(f"{options.folder.name}-epochs")
    content = read_manifest(options.folder / "task.json")
    model = keras.saving.load_model(options.folder / "model.keras")
    rate = Noam.with_peak(options.learning_rate, options.warmup)
    adam = keras.optimizers.Adam(rate, beta_2=0.98, epsilon=1e-9, clipnorm=1.0)
    model.compile(adam, MaskedCrossEntropy(label_smoothing=0.1))
    model.fit(
        read_batches(options.folder / "pairs.npz", options.seed),
        epochs=options.epochs,
        shuffle=False,
        callbacks=[AverageCheckpoints(epochs, options.average)],
        verbose=2,
    )
    with replace_folder(options.folder) as new:
        shutil.copytree(options.folder, new, dirs_exist_ok=True)
        model.save(new / "model.keras")
        write_manifest(new / "task.json", content)


parser = argparse.ArgumentParser()
commands = parser.add_subparsers(required=True)
packing = commands.add_parser("pack")
packing.add_argument("source", help="file with one sentence per line (.gz allowed)")
packing.add_argument("target", help="file with their translations")
packing.add_argument("--output", type=Path, required=True)
packing.add_argument("--size", default="tiny")
packing.add_argument("--vocabulary", type=int, default=10000)
packing.add_argument("--max-length", type=int, default=60)
packing.add_argument("--batch-tokens", type=int, default=4096)
packing.add_argument("--seed", type=int, default=1)
packing.set_defaults(run=pack)
training = commands.add_parser("train")
training.add_argument("folder", type=Path)
training.add_argument("--epochs", type=int, required=True)
training.add_argument("--average", type=int, default=12)
training.add_argument("--learning-rate", type=float, default=0.004)
training.add_argument("--warmup", type=int, default=1500)
training.add_argument("--seed", type=int, default=1)
training.set_defaults(run=train)
options = parser.parse_args()
options.run(options)
