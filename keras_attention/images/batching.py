"""Batches of captioned images for `model.fit`."""

import os
from collections.abc import Sequence

import numpy as np

from keras_attention.images.decode import read_image
from keras_attention.ops.ids import PAD
from keras_attention.text import Tokenizer
from keras_attention.text.batching import decoder_inputs
from keras_attention.utils.batches import ShuffledBatches

Image = str | os.PathLike | bytes | np.ndarray


def captioned_batches(
    examples: Sequence[tuple[Image, Sequence[str] | str]],
    tokenizer: Tokenizer,
    image_size: tuple[int, int],
    batch_size: int = 64,
    max_length: int = 40,
    shuffle: bool = True,
    seed: int = 0,
) -> ShuffledBatches:
    """Returns batches of images with one caption each.

    All images are decoded once, by this function, and held in memory as uint8: 8,000 images of
    128 x 128 take 400 MB. An image with several captions yields one example per caption. Captions
    are padded to the longest one, so that all batches but the last have one shape, for XLA.

    Args:
        examples: Pairs of an image (see `read_image`) and its caption or list of captions.
        tokenizer: Tokenizer of the captions.
        image_size: Height and width of the model's input.
        batch_size: Number of captions in a batch.
        max_length: Maximum number of tokens of a caption, including `[END]`; longer ones are
            truncated, with a warning that gives their number.
        shuffle: Whether to shuffle the captions in each epoch.
        seed: Random seed of the order.

    Returns:
        `ShuffledBatches` with elements `({"source": (B, H, W, 3) uint8, "target": (B, L) int32},
        labels (B, L))`. `target` is `[START]` and ids, `labels` is ids and `[END]`, padded with 0.

    Raises:
        ValueError: If there are no examples, an image has no caption or cannot be read, or a number
            is not positive.
    """
    if min(batch_size, max_length) < 1:
        raise ValueError(
            "`batch_size` and `max_length` must be at least 1. "
            f"Received: batch_size={batch_size}, max_length={max_length}"
        )
    if not len(examples):
        raise ValueError(f"`examples` must not be empty. Received: examples={examples!r}")
    images, image_indices, captions = [], [], []
    for index, (image, texts) in enumerate(examples):
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ValueError(
                f"Each image must have a caption. Received: no caption of {_describe(image)}"
            )
        images.append(read_image(image, image_size))
        image_indices += [index] * len(texts)
        captions += texts
    photos = np.stack(images)  # (N, H, W, 3)
    labels = tokenizer.encode_ragged(captions, max_length).to_tensor(PAD)  # (C, L)
    data = {"source": np.array(image_indices), "target": decoder_inputs(labels)}, labels

    def with_images(batch):
        inputs, labels = batch
        return {**inputs, "source": photos[inputs["source"]]}, labels

    return ShuffledBatches([(data, batch_size)], shuffle, seed).map(with_images)


def _describe(image: Image) -> str:
    return repr(str(image)) if isinstance(image, str | os.PathLike) else "an image without a path"
