"""Trains photo captioners from scratch on Flickr8k, to copy and change.

    python examples/caption_photos.py ../shared/data/flickr8k --output models/photos
    python examples/caption_photos.py ../shared/data/flickr8k --decoder transformer --attention soft

First, a CNN is trained to predict the words in the captions of a photo, so that it reads each photo
only once for all its captions. Its grid of cells is then frozen and computed for a few augmented
views of each photo. The captioners are trained on these cells, which avoids running the CNN for
every caption and epoch. By default, a captioner with attention and one without are scored on the
dev set with five references for each photo. If the training is interrupted, the same command
resumes it. The photos are for research and must not be published.
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
from keras_attention.text.batching import assign_buckets, decoder_inputs, pad_buckets
from keras_attention.training import MaskedCrossEntropy, SetEpoch, ShuffledBatches

parser = argparse.ArgumentParser()
parser.add_argument("folder", help="folder of Flickr8k")
parser.add_argument("--output", type=Path, default=Path("models/photos"))
parser.add_argument("--decoder", default="lstm", help="lstm or transformer")
parser.add_argument("--attention", nargs="+", default=["soft", "none"])
parser.add_argument("--word-epochs", type=int, default=30, help="epochs of the CNN")
parser.add_argument("--epochs", type=int, default=12, help="epochs of a captioner")
parser.add_argument("--views", type=int, default=4, help="augmented views of each photo")
parser.add_argument("--size", type=int, default=128, help="image size in pixels")
parser.add_argument("--photos", type=int, help="number of training photos [all]")
options = parser.parse_args()
keras.utils.set_random_seed(0)
size = (options.size, options.size)

# 1. Photos and lower-cased captions.
train = flickr8k(options.folder, "train")[: options.photos]
dev = flickr8k(options.folder, "dev")[: options.photos]
captions = [text for example in train for text in example.captions]
tokenizer = WordPieceTokenizer.train(captions, 3000, lowercase=True)


@tf.function
def augment(images):
    """Mirrors, crops and brightens images at random; captions rarely mention left or right."""
    images = tf.image.random_flip_left_right(images)
    larger = tf.image.resize(images, (size[0] * 9 // 8, size[1] * 9 // 8))
    crops = tf.image.random_crop(larger, tf.shape(images))
    return tf.cast(tf.image.random_brightness(crops, 32.0), tf.float32)


def train_model(model, data, epochs, loss, rate, name):
    """Trains a model; resumes an interrupted training and does not repeat a completed one."""
    warmup = 200
    decay_steps = max(1, epochs * len(data) - warmup)  # Keras counts them after the warm-up
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps, warmup_target=rate, warmup_steps=warmup
    )
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0), loss)
    backup = keras.callbacks.BackupAndRestore(options.output / name, delete_checkpoint=False)
    callbacks = [SetEpoch(data), backup]
    start = time.perf_counter()
    model.fit(data, epochs=epochs, shuffle=False, verbose=2, callbacks=callbacks)
    print(f"{name}: {model.count_params():,} weights, {time.perf_counter() - start:.0f} s")


# 2. Train the CNN to predict the words in the captions of each photo.
images = tf.constant(np.stack([read_image(example.image, size) for example in train]))
words = np.zeros((len(train), tokenizer.vocabulary_size), "float32")
for row, example in zip(words, train, strict=True):
    row[[id for ids in tokenizer.encode(example.captions) for id in ids]] = 1
data = ShuffledBatches([((np.arange(len(train)), words), 64)])
data = data.map(lambda batch: (augment(tf.gather(images, batch[0])), batch[1]))
backbone = ResidualCNN((24, 48, 96, 192))  # 8 x 8 cells of 16 pixels
recognizer = keras.Sequential(
    [
        keras.Input((*size, 3)),
        keras.layers.Rescaling(1 / 127.5, -1),
        backbone,
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(tokenizer.vocabulary_size),
    ]
)
loss = keras.losses.BinaryCrossentropy(from_logits=True)
train_model(recognizer, data, options.word_epochs, loss, 2e-3, "words")
backbone.trainable = False

# 3. Compute the cells of a few augmented views of each photo, once, since the CNN is frozen.
encoder = ImageEncoder(backbone, size)
encode = tf.function(lambda batch: tf.cast(encoder(augment(batch))["sequence"], tf.float16))
batches = tf.data.Dataset.from_tensor_slices(images).batch(64)
views = tf.stack([tf.concat([encode(x) for x in batches], 0) for _ in range(options.views)])
cells_shape = views.shape[2:]  # views is (views, photos, cells, channels)
photo_of_caption = np.repeat(np.arange(len(train)), [len(example.captions) for example in train])
ids = tokenizer.encode_ragged(captions, max_length=30)


def padded(rows, length):
    return photo_of_caption[rows], tf.gather(ids, rows).to_tensor(0, shape=[None, length]).numpy()


def add_cells(batch):
    """Returns captions with the cells of a random view of their photos."""
    photos, labels = batch
    view = tf.random.uniform(tf.shape(photos), maxval=options.views, dtype=tf.int64)
    cells = tf.gather_nd(views, tf.stack([view, photos], axis=1))
    return {"cells": tf.cast(cells, tf.float32), "target": decoder_inputs(labels)}, labels


def decoder_of(model):
    """Returns the trainable part of a captioner: its decoder, with cells as input."""
    cells = keras.Input(cells_shape, name="cells")
    target = keras.Input((None,), dtype="int32", name="target")
    encoded = {"sequence": cells, "state": keras.ops.mean(cells, axis=1)}
    return keras.Model({"cells": cells, "target": target}, model.decoder(target, encoded))


# 4. Train captioners with attention to the cells, or with their mean only.
buckets = assign_buckets(ids.row_lengths().numpy(), batch_size=64, max_length=30, batch_tokens=None)
data = ShuffledBatches(pad_buckets(buckets, padded)).map(add_cells)
for attention in options.attention:
    attention_type = None if attention == "none" else attention
    model = captioner(
        tokenizer.vocabulary_size,
        size,
        decoder=options.decoder,
        attention=attention_type,
        backbone=backbone,
        dropout=0.4,
    )
    loss = MaskedCrossEntropy(label_smoothing=0.1)
    train_model(decoder_of(model), data, options.epochs, loss, 1e-3, attention)

    # 5. Caption the dev set and score the captions.
    task = Captioner(model, tokenizer, BeamSearch(3, length_penalty=0.6, max_new_tokens=30))
    task.save(options.output / f"{attention}-task")
    hypotheses = task.generate([example.image for example in dev])
    generated = [best.text for best, *_ in hypotheses]
    for name, score in caption_scores(generated, [example.captions for example in dev]).items():
        print(f"{attention} {name}: {score.score:.3f}  ({score.signature})")
    print(f"{attention}: {len(set(generated))} of {len(generated)} captions are distinct")
    for example, caption in list(zip(dev, generated, strict=True))[:5]:
        print(f"{example.image.name}: {caption}")
