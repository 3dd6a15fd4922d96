"""Trains captioners of photographs from scratch on Flickr8k's own folder, to copy and change.

    python examples/caption_photos.py ../shared/data/flickr8k --output models/photos
    python examples/caption_photos.py ../shared/data/flickr8k --decoder transformer --attention soft

First a network learns which words a photograph's captions have: that takes one look at a photograph
for all its captions. Then each captioner learns to write from the network's grid of cells, which
stays as it is, so that each photograph is looked at a few times and not once for every caption and
epoch. By default one with attention and one without are scored on the dev photographs,
five references each. A training that was cut off goes on when the same command is given again. The
photographs are for research and may not be shown.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_attention.datasets.flickr8k import flickr8k
from keras_attention.generation import BeamSearch
from keras_attention.images import read_image
from keras_attention.layers import ImageEncoder, ResidualCNN
from keras_attention.metrics import caption_scores
from keras_attention.models import captioner
from keras_attention.tasks import Captioner
from keras_attention.text import WordPieceTokenizer
from keras_attention.text.batching import bucket_by_length, decoder_inputs
from keras_attention.training import MaskedCrossEntropy

parser = argparse.ArgumentParser()
parser.add_argument("folder", help="Flickr8k's own folder")
parser.add_argument("--output", type=Path, default=Path("models/photos"))
parser.add_argument("--decoder", default="lstm", help="lstm or transformer")
parser.add_argument("--attention", nargs="+", default=["soft", "none"])
parser.add_argument("--word-epochs", type=int, default=30, help="of the network, on photographs")
parser.add_argument("--epochs", type=int, default=12, help="of a captioner, on captions")
parser.add_argument("--views", type=int, default=4, help="of each photograph, for captioners")
parser.add_argument("--size", type=int, default=128, help="of the images, in pixels")
parser.add_argument("--photographs", type=int, help="train on so many alone")
options = parser.parse_args()
keras.utils.set_random_seed(0)
size = (options.size, options.size)

# 1. Photographs and captions, in small letters.
train = flickr8k(options.folder, "train")[: options.photographs]
dev = flickr8k(options.folder, "dev")[: options.photographs]
captions = [text for example in train for text in example.captions]
tokenizer = WordPieceTokenizer.train(captions, 3000, lowercase=True)


@tf.function
def changed(images):
    """Mirrored, and cut out of larger ones; words for left and right are rare."""
    images = tf.image.random_flip_left_right(images)
    larger = tf.image.resize(images, (size[0] * 9 // 8, size[1] * 9 // 8))
    cut = tf.image.random_crop(larger, tf.shape(images))
    return tf.cast(tf.image.random_brightness(cut, 32.0), tf.float32)


def train_model(model, data, epochs, loss, rate, name):
    """A training that goes on where it was cut off, and is not repeated when it is done."""
    steps = epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=rate, warmup_steps=200)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0), loss)
    kept = keras.callbacks.BackupAndRestore(options.output / name, delete_checkpoint=False)
    began = time.perf_counter()
    model.fit(data, epochs=epochs, shuffle=False, verbose=2, callbacks=[kept])
    print(f"{name}: {model.count_params():,} weights, {time.perf_counter() - began:.0f} s")


# 2. Which words do the captions of a photograph have?
images = tf.constant(np.stack([read_image(example.image, size) for example in train]))
words = np.zeros((len(train), tokenizer.vocabulary_size), "float32")
for row, example in zip(words, train, strict=True):
    row[[id for ids in tokenizer.encode(example.captions) for id in ids]] = 1
data = tf.data.Dataset.range(len(train)).shuffle(len(train), seed=0).batch(64)
data = data.map(lambda at: (changed(tf.gather(images, at)), tf.gather(words, at))).prefetch(2)
grid = ResidualCNN((24, 48, 96, 192))  # 8 x 8 cells of 16 pixels
recognizer = keras.Sequential(
    [
        keras.Input((*size, 3)),
        keras.layers.Rescaling(1 / 127.5, -1),
        grid,
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(tokenizer.vocabulary_size),
    ]
)
loss = keras.losses.BinaryCrossentropy(from_logits=True)
train_model(recognizer, data, options.word_epochs, loss, 2e-3, "words")
grid.trainable = False

# 3. What it sees in each photograph, changed a few times. It stays as it is, so this is done once.
encoder = ImageEncoder(grid, size)
see = tf.function(lambda batch: tf.cast(encoder(changed(batch))["sequence"], tf.float16))
batches = tf.data.Dataset.from_tensor_slices(images).batch(64)
views = tf.stack([tf.concat([see(x) for x in batches], 0) for _ in range(options.views)])
cells_shape = views.shape[2:]  # of (views, photographs, cells, channels)
photographs = np.repeat(np.arange(len(train)), [len(example.captions) for example in train])
ids = tokenizer.encode_ragged(captions, max_length=30)


def padded(rows, length):
    return photographs[rows], tf.gather(ids, rows).to_tensor(0, shape=[None, length])


def with_cells(photographs, labels):
    """Captions with any of the views of their photographs."""
    view = tf.random.uniform(tf.shape(photographs), maxval=options.views, dtype=tf.int64)
    cells = tf.gather_nd(views, tf.stack([view, photographs], axis=1))
    return {"cells": tf.cast(cells, tf.float32), "target": decoder_inputs(labels)}, labels


def from_cells(model):
    """A captioner without its encoder: what is trained of it."""
    cells = keras.Input(cells_shape, name="cells")
    target = keras.Input((None,), dtype="int32", name="target")
    encoded = {"sequence": cells, "state": keras.ops.mean(cells, axis=1)}
    return keras.Model({"cells": cells, "target": target}, model.decoder(target, encoded))


# 4. Captioners that look at its cells, or at their mean alone.
data = bucket_by_length(ids.row_lengths().numpy(), padded, 64, 30, True, 0, None)
data = data.map(with_cells).prefetch(2)
for attention in options.attention:
    kind = None if attention == "none" else attention
    model = captioner(
        tokenizer.vocabulary_size,
        size,
        decoder=options.decoder,
        attention=kind,
        grid=grid,
        dropout=0.4,
    )
    loss = MaskedCrossEntropy(label_smoothing=0.1)
    train_model(from_cells(model), data, options.epochs, loss, 1e-3, attention)

    # 5. What it says of photographs that it has not seen.
    task = Captioner(model, tokenizer, BeamSearch(3, length_penalty=0.6, max_new_tokens=30))
    task.save(options.output / f"{attention}-task")
    said = [answers[0].text for answers in task.generate([example.image for example in dev])]
    for name, score in caption_scores(said, [example.captions for example in dev]).items():
        print(f"{attention} {name}: {score.score:.3f}  ({score.signature})")
    print(f"{attention}: {len(set(said))} different captions of {len(said)}")
    for example, caption in list(zip(dev, said, strict=True))[:5]:
        print(f"{example.image.name}: {caption}")
