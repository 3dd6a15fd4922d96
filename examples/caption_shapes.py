"""Trains a captioner that looks at what it names, and draws where, to copy and change.

    python examples/caption_shapes.py
    python examples/caption_shapes.py --decoder lstm --output models/mine

It learns from images of colored shapes, which it makes (docs/captions_data.md): how many, which
color, which shape, and where one stands of the other. In this Transformer of one layer a word knows
of the image what its own step looks at; the LSTM of "soft" remembers, and looks ahead of its words.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np

from keras_attention import viz
from keras_attention.datasets.shapes import shapes
from keras_attention.generation import GreedySearch
from keras_attention.images import captioned_batches
from keras_attention.models import captioner
from keras_attention.tasks import Captioner
from keras_attention.text import WordPieceTokenizer
from keras_attention.training import MaskedCrossEntropy

parser = argparse.ArgumentParser()
parser.add_argument("--output", type=Path, default=Path("models/captioner"))
parser.add_argument("--decoder", default="transformer", help="transformer or lstm")
parser.add_argument("--attention", default="soft", help="soft, or the LSTM's hard, luong or none")
parser.add_argument("--scenes", type=int, default=16_000)
parser.add_argument("--epochs", type=int, default=10)
options = parser.parse_args()
keras.utils.set_random_seed(0)
began = time.perf_counter()

# 1. Images and captions. Other seeds make other images.
train, test = shapes(options.scenes, seed=1), shapes(1000, seed=2)
tokenizer = WordPieceTokenizer.train([scene.caption for scene in train], 100)  # all words are whole
size = train[0].image.shape[:2]
data = captioned_batches([(scene.image, scene.caption) for scene in train], tokenizer, size, 32)


# 2. The model. A cell of the grid sees 20 x 20 pixels, so those beside an object know its shape as
# well as those on it, and are looked at too. A factor from its own 4 x 4 pixels tells them apart.
def block(x, filters, kernel, stride=1):
    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
    return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))


pixels = keras.Input((*size, 3))
own = block(pixels, 16, kernel=4, stride=4)  # (B, 16, 16, 16)
seen = block(pixels, 48, kernel=4, stride=4)
seen = block(block(seen, 48, kernel=3), 64, kernel=3)  # (B, 16, 16, 64)
grid = keras.Model(pixels, seen * keras.ops.mean(own, axis=-1, keepdims=True))
model = captioner(
    tokenizer.vocabulary_size,
    size,
    decoder=options.decoder,
    attention=None if options.attention == "none" else options.attention,
    grid=grid,
    hidden_dim=128,
    dropout=0.0,  # no image is seen often
    doubly_stochastic=0.0,  # a caption does not name every cell
)
steps = options.epochs * len(data)
rate = keras.optimizers.schedules.CosineDecay(
    0.0, steps, warmup_target=2e-3, warmup_steps=steps // 10
)
model.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0), MaskedCrossEntropy())
model.fit(data, epochs=options.epochs, shuffle=False, verbose=2)

# 3. The whole road, image to text.
task = Captioner(model, tokenizer, GreedySearch(max_new_tokens=12))
captions = task([scene.image for scene in test])
right = sum(found == scene.caption for found, scene in zip(captions, test, strict=True))
print(f"{right} of {len(test)} unseen images have exactly their caption")

# 4. Where it looked, by the rule of the pointing game (Zhang et al. 2016): does the middle of the
# cell that counted most for a noun lie in the box around something that the noun names?
found = model.generate(np.stack([scene.image for scene in test]), task.strategy, attention=True)
rows, columns = task.grid_shape
height, width = size[0] // rows, size[1] // columns  # of a cell, in pixels
nouns, in_box, on_pixels = 0, 0, 0
for scene, weights in zip(test, found.attention[:, 0], strict=True):
    for index, mask, boxes in scene.words:
        row, column = divmod(int(weights[index].argmax()), columns)
        y, x = (row + 0.5) * height, (column + 0.5) * width
        top, left, bottom, right = boxes.T
        in_box += ((top <= y) & (y <= bottom) & (left <= x) & (x <= right)).any()
        cell = mask[row * height : (row + 1) * height, column * width : (column + 1) * width]
        on_pixels += cell.any()  # stricter: between the arms of a cross is beside it
        nouns += 1
print(
    f"{in_box} of {nouns} nouns looked into the box of what they name, {on_pixels} onto its pixels"
)

options.output.mkdir(parents=True, exist_ok=True)
for place, scene in enumerate(test[:3]):
    looked = task.attention(scene.image)
    figure = viz.plot_image_attention(looked.image, looked.target, looked.weights)
    viz.save_figure(figure, options.output / f"looked-{place}.png")
viz.animate_image_attention(
    looked.image, looked.target, looked.weights, options.output / "looked.gif"
)

# 5. Out of Python. Each export is run by the runtime that will run it, and says the same.
task.save(options.output / "task")
images = [scene.image for scene in test[:20]]
for name, folder in (("saved_model", "serving"), ("tflite", "phone")):
    proof = task.export(options.output / folder, name, images)
    agreement, spent = proof["agreement"], proof["median_milliseconds"]
    print(
        f"{name}: {agreement['equal']} of {agreement['compared']} answers equal, "
        f"{sum(proof['bytes'].values()) / 1e6:.2f} MB, {spent['export']:.1f} ms an image"
    )
print(f"{time.perf_counter() - began:.0f} s in all")
