"""A comparison of distant marks by a CNN, with and without self-attention between its cells.

    python examples/distant_pixels.py

Each image has a colored mark near its left edge and one near its right edge. The label is 1 if both
have the same color. No convolution here covers both marks, and the head averages over the cells, so
the plain network can only count colors. A self-attention block gives each cell access to distant
cells. All networks are trained on the same images with the same optimizer and number of steps.

The blocks are SAGAN's (Zhang et al. 2019, https://arxiv.org/abs/1805.08318) and the non-local one
(Wang et al. 2018, https://arxiv.org/abs/1711.07971).
"""

import argparse
import time

import keras
import numpy as np

from keras_attention.layers import NonLocal2D, SelfAttention2D

parser = argparse.ArgumentParser()
parser.add_argument("--images", type=int, default=8000, help="number of training images")
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--rate", type=float, default=3e-3, help="learning rate of Adam")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

SIZE, MARK, EDGE, TESTS = 32, 4, 8, 2000
COLORS = np.array([[255, 60, 60], [60, 220, 60], [70, 90, 255], [240, 220, 40]])


def make_images(count, seed):
    """Returns images (N, 32, 32, 3) from -1 to 1, and labels (N,), 1 for two equal colors."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, SIZE, SIZE, 3))  # a dark, noisy background
    labels = rng.integers(0, 2, count)
    left = rng.integers(0, len(COLORS), count)
    right = (left + (1 - labels) * rng.integers(1, len(COLORS), count)) % len(COLORS)
    for i in range(count):
        for color, edge in ((left[i], 0), (right[i], SIZE - EDGE)):
            top = rng.integers(0, SIZE - MARK + 1)
            start = edge + rng.integers(0, EDGE - MARK + 1)
            images[i, top : top + MARK, start : start + MARK] = COLORS[color]
    return (images / 127.5 - 1).astype("float32"), labels


def network(block):
    """Builds a CNN; after its second convolution, a cell covers 7 x 7 pixels.

    The marks are at least 12 pixels apart.
    """
    options = {"padding": "same", "activation": "relu", "data_format": "channels_last"}
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(16, 3, 2, **options),  # (B, 16, 16, 16)
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Conv2D(32, 3, 2, **options),  # (B, 8, 8, 32)
            keras.layers.BatchNormalization(momentum=0.9),
            *block,
            keras.layers.Conv2D(32, 1, **options),
            keras.layers.GlobalAveragePooling2D(data_format="channels_last"),
            keras.layers.Dense(1),
        ]
    )


def train(block):
    """Trains a network and returns its number of weights and its test accuracy."""
    keras.utils.set_random_seed(options.seed)
    model = network([make() for make in block])
    model.compile(
        keras.optimizers.Adam(options.rate),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
        jit_compile=False,  # on a CPU, TensorFlow's convolutions are faster than XLA's
    )
    images, labels = make_images(options.images, seed=options.seed)
    model.fit(images, labels, batch_size=64, epochs=options.epochs, verbose=0)
    accuracy = model.evaluate(*make_images(TESTS, seed=options.seed + 1), verbose=0)[1]
    return model.count_params(), accuracy


BLOCKS = {
    "no block": [],
    "SAGAN block": [SelfAttention2D],
    "non-local block": [NonLocal2D],
}
print(f"Do both marks have the same color? {options.images} images, {options.epochs} epochs")
print(f"{'':16} {'weights':>8} {'accuracy':>9} {'seconds':>8}")
for name, block in BLOCKS.items():
    start = time.perf_counter()
    weights, accuracy = train(block)
    seconds = time.perf_counter() - start
    print(f"{name:16} {weights:>8} {accuracy:>9.1%} {seconds:>8.0f}", flush=True)
