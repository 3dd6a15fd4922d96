"""Trains a captioner of photographs on Flickr8k's own folder, from scratch, to copy and change.

    python examples/caption_photos.py ../shared/data/flickr8k --output models/photos
    python examples/caption_photos.py ../shared/data/flickr8k --attention none --output models/blind

It is scored on the dev photographs, five references each. A training that was cut off goes on when
the same command is given again. The photographs are for research and may not be shown.
"""

import argparse
from pathlib import Path

import keras
import tensorflow as tf

from keras_attention.datasets.flickr8k import flickr8k
from keras_attention.generation import Beam
from keras_attention.images import captioned_batches
from keras_attention.layers import ResidualCNN
from keras_attention.metrics import caption_scores
from keras_attention.models import captioner
from keras_attention.tasks import Captioner
from keras_attention.text import WordPiece
from keras_attention.training import MaskedCrossEntropy

parser = argparse.ArgumentParser()
parser.add_argument("folder", help="Flickr8k's own folder")
parser.add_argument("--output", type=Path, default=Path("models/photos"))
parser.add_argument("--attention", default="soft", help="soft, hard, luong, transformer or none")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--size", type=int, default=128, help="of the images, in pixels")
parser.add_argument("--photographs", type=int, help="train on so many alone")
options = parser.parse_args()
keras.utils.set_random_seed(0)
size = (options.size, options.size)

# 1. Photographs and captions, in small letters, and each photograph a little different every time.
train = flickr8k(options.folder, "train")[: options.photographs]
dev = flickr8k(options.folder, "dev")[: options.photographs]
captions = [text for example in train for text in example.captions]
tokenizer = WordPiece.train(captions, 3000, lowercase=True)


def changed(inputs, labels):
    """Mirrored, and cut out of a slightly larger one; words for left and right are rare."""
    images = tf.image.random_flip_left_right(inputs["source"])
    larger = tf.image.resize(images, (size[0] * 9 // 8, size[1] * 9 // 8))
    cut = tf.image.random_crop(larger, tf.shape(images))
    return {**inputs, "source": tf.cast(cut, tf.uint8)}, labels


data = captioned_batches(train, tokenizer, size, 64, max_length=30).map(changed).prefetch(2)

# 2. The model: a residual network from scratch, 8 x 8 cells of 16 pixels.
model = captioner(
    tokenizer.vocabulary_size,
    size,
    attention=None if options.attention == "none" else options.attention,
    grid=ResidualCNN((32, 64, 128, 256)),
    dropout=0.4,
)
steps = options.epochs * len(data)
rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=1e-3, warmup_steps=500)
model.compile(
    keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=1.0),
    MaskedCrossEntropy(label_smoothing=0.1),
)
kept = keras.callbacks.BackupAndRestore(options.output / "unfinished")
model.fit(data, epochs=options.epochs, shuffle=False, verbose=2, callbacks=[kept])

# 3. What it says of photographs that it has not seen.
task = Captioner(model, tokenizer, Beam(3, length_penalty=0.6, max_length=30))
task.save(options.output / "task")
said = [answers[0].text for answers in task.generate([example.image for example in dev])]
for name, score in caption_scores(said, [example.captions for example in dev]).items():
    print(f"{name}: {score.score:.2f}  ({score.signature})")
for example, caption in list(zip(dev, said, strict=True))[:5]:
    print(f"{example.image.name}: {caption}")
