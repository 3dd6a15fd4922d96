"""Trains a captioner on images of shapes and draws its attention, to copy and change.

    python examples/caption_shapes.py
    python examples/caption_shapes.py --decoder lstm --output models/mine

The images of colored shapes are generated (docs/captions_data.md). Their captions name the number,
color and shape of the objects and their relative position. In the one-layer Transformer, a word
depends only on what its own step attends to in the image. The LSTM decoder has a state and often
attends to an object some words before it names it.
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
parser.add_argument("--test-scenes", type=int, default=1000)
parser.add_argument("--epochs", type=int, default=10)
options = parser.parse_args()
keras.utils.set_random_seed(0)
start = time.perf_counter()

# 1. Images and captions.
train, test = shapes(options.scenes, seed=1), shapes(options.test_scenes, seed=2)
tokenizer = WordPieceTokenizer.train([scene.caption for scene in train], 100)  # no word is split
size = train[0].image.shape[:2]
data = captioned_batches([(scene.image, scene.caption) for scene in train], tokenizer, size, 32)


# 2. The model. A cell of the grid covers 20 x 20 pixels, so that cells next to an object know its
# shape, too, and get attention. A factor from the cell's own 4 x 4 pixels distinguishes them.
def block(x, filters, kernel, stride=1):
    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
    return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))


pixels = keras.Input((*size, 3))
local = block(pixels, 16, kernel=4, stride=4)  # (B, 16, 16, 16)
features = block(pixels, 48, kernel=4, stride=4)
features = block(block(features, 48, kernel=3), 64, kernel=3)  # (B, 16, 16, 64)
backbone = keras.Model(pixels, features * keras.ops.mean(local, axis=-1, keepdims=True))
model = captioner(
    tokenizer.vocabulary_size,
    size,
    decoder=options.decoder,
    attention=None if options.attention == "none" else options.attention,
    backbone=backbone,
    hidden_dim=128,
    dropout=0.0,  # each image is used only a few times
    doubly_stochastic=0.0,  # a caption does not name every cell
)
steps = options.epochs * len(data)
warmup = steps // 10
rate = keras.optimizers.schedules.CosineDecay(  # Keras counts the decay after the warm-up
    0.0, steps - warmup, warmup_target=2e-3, warmup_steps=warmup
)
model.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0), MaskedCrossEntropy())
model.fit(data, epochs=options.epochs, shuffle=False, verbose=2)

# 3. The complete task, image to text.
task = Captioner(model, tokenizer, GreedySearch(max_new_tokens=12))
captions = task([scene.image for scene in test])
correct = sum(caption == scene.caption for caption, scene in zip(captions, test, strict=True))
print(f"{correct} of {len(test)} unseen images have exactly the right caption")

# 4. The pointing game (Zhang et al. 2016): for each noun, is the center of the cell with the
# largest weight in the box of an object that the noun names?
output = model.generate(
    np.stack([scene.image for scene in test]), task.strategy, return_attention=True
)
rows, columns = task.grid_shape
height, width = size[0] // rows, size[1] // columns  # of a cell, in pixels
nouns, in_box, on_pixels = 0, 0, 0
for scene, weights in zip(test, output.attention[:, 0], strict=True):
    for index, mask, boxes in scene.words:
        row, column = divmod(int(weights[index].argmax()), columns)
        y, x = (row + 0.5) * height, (column + 0.5) * width
        top, left, bottom, right = boxes.T
        in_box += ((top <= y) & (y <= bottom) & (left <= x) & (x <= right)).any()
        cell = mask[row * height : (row + 1) * height, column * width : (column + 1) * width]
        on_pixels += cell.any()  # stricter: not the gaps between the arms of a cross
        nouns += 1
print(f"{in_box} of {nouns} nouns attend to the box of their object, {on_pixels} to its pixels")

options.output.mkdir(parents=True, exist_ok=True)
for index, scene in enumerate(test[:3]):
    alignment = task.attention(scene.image)
    figure = viz.plot_image_attention(alignment.image, alignment.target, alignment.weights)
    viz.save_figure(figure, options.output / f"attention-{index}.png")
viz.animate_image_attention(
    alignment.image, alignment.target, alignment.weights, options.output / "attention.gif"
)

# 5. Exports. Each is run in its target runtime and compared with the model.
task.save(options.output / "task")
images = [scene.image for scene in test[:20]]
for name, folder in (("saved_model", "serving"), ("tflite", "phone")):
    verification = task.export(options.output / folder, name, images)
    agreement, latency = verification["agreement"], verification["median_milliseconds"]
    print(
        f"{name}: {agreement['equal']} of {agreement['compared']} outputs equal, "
        f"{sum(verification['bytes'].values()) / 1e6:.2f} MB, {latency['export']:.1f} ms per image"
    )
print(f"{time.perf_counter() - start:.0f} s in total")
