"""What a CNN does not see: two marks far apart, with and without attention between cells.

    python examples/distant_pixels.py

An image has a colored mark near its left edge and one near its right edge. Are the two of one
color? No convolution here sees both, and the head adds up what each cell says, so the plain network
can only count colors. With a block of self-attention a cell also knows what stands far away. The
networks train on the same images, for the same number of steps, with the same optimizer.

The blocks: SAGAN's (Zhang et al. 2019, https://arxiv.org/abs/1805.08318) and the non-local one
(Wang et al. 2018, https://arxiv.org/abs/1711.07971).
"""

import argparse
import time

import keras
import numpy as np

from keras_attention.layers import NonLocal2D, SelfAttention2D

parser = argparse.ArgumentParser()
parser.add_argument("--images", type=int, default=8000, help="to train on")
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--rate", type=float, default=3e-3, help="learning rate of Adam")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

SIZE, MARK, EDGE, TESTS = 32, 4, 8, 2000
COLORS = np.array([[255, 60, 60], [60, 220, 60], [70, 90, 255], [240, 220, 40]])


def make_images(count, seed):
    """Images (N, 32, 32, 3) from -1 to 1, and whether both marks are of one color: (N,)."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, SIZE, SIZE, 3))  # a dark, noisy ground
    same = rng.integers(0, 2, count)
    left = rng.integers(0, len(COLORS), count)
    right = (left + (1 - same) * rng.integers(1, len(COLORS), count)) % len(COLORS)
    for i in range(count):
        for color, edge in ((left[i], 0), (right[i], SIZE - EDGE)):
            top = rng.integers(0, SIZE - MARK + 1)
            start = edge + rng.integers(0, EDGE - MARK + 1)
            images[i, top : top + MARK, start : start + MARK] = COLORS[color]
    return (images / 127.5 - 1).astype("float32"), same


def network(block):
    """A cell behind the second convolution knows 7 x 7 pixels; the marks are 12 or more apart."""
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
    """How many weights there are, and the accuracy on images it has not seen."""
    keras.utils.set_random_seed(options.seed)
    model = network([make() for make in block])
    model.compile(
        keras.optimizers.Adam(options.rate),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
        jit_compile=False,  # TensorFlow's own convolutions are faster on a CPU than XLA's
    )
    images, same = make_images(options.images, seed=options.seed)
    model.fit(images, same, batch_size=64, epochs=options.epochs, verbose=0)
    accuracy = model.evaluate(*make_images(TESTS, seed=options.seed + 1), verbose=0)[1]
    return model.count_params(), accuracy


BLOCKS = {
    "no block": [],
    "SAGAN block": [SelfAttention2D],
    "non-local block": [NonLocal2D],
}
print(f"Are two marks of one color? {options.images} images, {options.epochs} epochs")
print(f"{'':16} {'weights':>8} {'accuracy':>9} {'seconds':>8}")
for name, block in BLOCKS.items():
    start = time.perf_counter()
    weights, accuracy = train(block)
    seconds = time.perf_counter() - start
    print(f"{name:16} {weights:>8} {accuracy:>9.1%} {seconds:>8.0f}", flush=True)
