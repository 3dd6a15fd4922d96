"""Batches of images and captions for `model.fit`."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_attention.images.decode import read_image
from keras_attention.ops.ids import PAD
from keras_attention.text import Tokenizer
from keras_attention.text.batching import batch_examples, decoder_inputs

Image = str | os.PathLike | bytes | np.ndarray


def captioned_batches(
    examples: Sequence[tuple[Image, Sequence[str] | str]],
    tokenizer: Tokenizer,
    image_size: tuple[int, int],
    batch_size: int = 64,
    max_length: int = 40,
    shuffle: bool = True,
    seed: int = 0,
) -> tf.data.Dataset:
    """Makes batches of images with one caption each.

    All images are decoded once, here, and kept as uint8: 8,000 of 128 x 128 take 400 MB. An image
    with several captions is there once for each of them. Every batch has the same shape but the
    last, and captions are padded to the longest of all, which is what XLA wants.

    Args:
        examples: pairs of an image, as `read_image` takes it, and its caption or captions.
        tokenizer: encodes the captions.
        image_size: height and width, as the model's.
        batch_size: captions in a batch.
        max_length: the longest caption, `[END]` counted; longer ones are cut, with a warning that
            counts them.
        shuffle: whether captions come in a new order in each epoch.
        seed: of the orders.

    Returns:
        A dataset of `({"source": (B, H, W, 3) uint8, "target": (B, L) int32}, labels (B, L))`.
        `target` is `[START]` and ids, `labels` is ids and `[END]`, padded with 0.

    Raises:
        ValueError: if there are no examples, an image has no caption or cannot be read, or a number
            is not positive.
    """
    if min(batch_size, max_length) < 1:
        raise ValueError(
            "batch_size, max_length: expected at least 1. "
            f"Received: batch_size={batch_size}, max_length={max_length}"
        )
    if not len(examples):
        raise ValueError(f"examples: expected at least one. Received: {examples!r}")
    images, places, captions = [], [], []
    for place, (image, texts) in enumerate(examples):
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ValueError(
                f"examples: expected a caption for every image. Received: none for {_named(image)}"
            )
        images.append(read_image(image, image_size))
        places += [place] * len(texts)
        captions += texts
    images = tf.constant(np.stack(images))  # (N, H, W, 3)
    labels = tokenizer.encode_ragged(captions, max_length).to_tensor(PAD)  # (C, L)
    data = {"source": np.array(places), "target": decoder_inputs(labels)}, labels

    def with_images(inputs, labels):
        return {**inputs, "source": tf.gather(images, inputs["source"])}, labels

    return batch_examples(data, batch_size, seed if shuffle else None).map(with_images).prefetch(2)


def _named(image):
    return repr(str(image)) if isinstance(image, str | os.PathLike) else "an image without a name"
