"""Preprocessor of the image tasks: images to the pixels that a model reads."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import tensorflow as tf

from keras_attention.images.batching import Image
from keras_attention.images.decode import read_image
from keras_attention.images.served import check_served_image, decode_images
from keras_attention.types import Batch
from keras_attention.utils.validation import check_static


class ImagePreprocessor:
    """Reads images and resizes them to the size that the model expects.

    Eagerly an image is a path, the bytes of a JPEG or PNG file, or an array; see `read_image`. In a
    graph it is bytes.

    Args:
        image_size: height and width.
    """

    item_name = "images"
    input_name = "image_bytes"  # of the inputs of an exported signature
    allows_empty_batch = False  # TensorFlow's convolutions fail at an empty batch on a CPU
    tokenizers = ()

    def __init__(self, image_size: Sequence[int]):
        height, width = image_size
        self.image_size = (height, width)
        self.batch_size: int | None = None

    def for_tflite(self) -> Self:
        """Returns the preprocessor; TFLite has its operations, as its inputs are pixels."""
        return self

    @property
    def input_spec(self) -> tf.TensorSpec:
        """Specification of raw inputs, the bytes of files `(batch,)`."""
        return tf.TensorSpec((None,), tf.string, name=self.input_name)

    @property
    def model_input_spec(self) -> tf.TensorSpec:
        """Specification of the pixels `(batch, height, width, 3)`."""
        return tf.TensorSpec((self.batch_size, *self.image_size, 3), tf.uint8, name="source")

    def with_static_shape(self, static: Sequence[int]) -> Self:
        """Returns a preprocessor whose model inputs have one shape, for an export.

        Args:
            static: batch size.

        Raises:
            ValueError: If `static` is anything else.
        """
        result = copy.copy(self)
        (result.batch_size,) = check_static(static)
        return result

    def is_single(self, inputs: object) -> bool:
        """Returns whether the argument is one image and not a list or a batch of images."""
        is_file = isinstance(inputs, str | os.PathLike | bytes)
        return is_file or (isinstance(inputs, np.ndarray) and inputs.ndim < 4)

    def __call__(self, images: Sequence[Image] | tf.Tensor) -> Batch:
        """Reads one batch, eagerly or, from a tensor of strings, in a graph.

        Returns:
            A `Batch` with pixels `(batch, height, width, 3)`, uint8.
        """
        if tf.is_tensor(images):
            return Batch(decode_images(images, self.image_size))
        return self.pad_examples(self.encode_examples(images))

    def normalize(self, images: Sequence[Image]) -> np.ndarray:
        """Returns pixels."""
        return self(images).model_inputs

    def encode_examples(self, images: Sequence[Image]) -> list[np.ndarray]:
        """Reads any number of images, `(height, width, 3)` each."""
        return [read_image(image, self.image_size) for image in images]

    def pad_examples(self, examples: list[np.ndarray]) -> Batch:
        """Stacks images, which all have one size."""
        return Batch(np.stack(examples))

    def describe(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns the outputs of the signature `details` that describe its inputs: none."""
        return {}

    def samples(self, images: Sequence[Image] | None) -> list[bytes]:
        """Returns the samples on which an export is verified.

        Args:
            images: the first samples; `None` makes eight of random pixels.

        Returns:
            The bytes of these images, and of a grey image of one pixel. Those that an exported
            graph does not take are PNG files of the pixels that the model reads.

        Raises:
            ValueError: If there is no image, or one cannot be read.
        """
        if images is None:
            rng = np.random.default_rng(0)
            images = list(rng.integers(0, 256, (8, *self.image_size, 3), "uint8"))
        if not len(images):
            raise ValueError("`samples` must contain at least one image. Received: no image")
        pixels = self.encode_examples(images)  # an error names the image that cannot be read
        files = [image_bytes(image) for image in images]
        one_pixel = tf.io.encode_png(np.full((1, 1, 1), 128, "uint8")).numpy()
        return [
            *(
                file if _is_served(file) else image_bytes(small)
                for file, small in zip(files, pixels, strict=True)
            ),
            one_pixel,
        ]

    def compact_samples(self, samples: Sequence[bytes]) -> list[bytes]:
        """Returns samples with the same pixels in the size that the model reads."""
        return [image_bytes(pixels) for pixels in self.encode_examples(samples)]


def image_bytes(image: Image) -> bytes:
    """Returns the bytes of an image file, or of a PNG file with the pixels of an array."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    pixels = np.asarray(image)
    return tf.io.encode_png(read_image(pixels, pixels.shape[:2])).numpy()


def _is_served(data: bytes) -> bool:
    try:
        check_served_image(tf.constant(data))
    except tf.errors.InvalidArgumentError:
        return False
    return True
