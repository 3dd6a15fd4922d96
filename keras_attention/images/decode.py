"""Decoding of images to pixels, eagerly and in a TensorFlow graph."""

import os
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.images.headers import check_image_size
from keras_attention.images.orientation import exif_orientation, orient
from keras_attention.utils.reading import read_bytes


def decode_image(data: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Decodes and resizes one JPEG, PNG, BMP, JPEG XL or WebP image, or the first frame of a GIF.

    Animated WebP files are refused, since TensorFlow decodes them only with four channels.

    Grayscale becomes three equal channels, transparency is ignored, and 16 bits per channel become
    8. The image is turned as its EXIF orientation says, and resized with antialiasing and without
    preserving its aspect ratio.

    Args:
        data: Scalar string, the bytes of the file.
        image_size: Height and width of the result.

    Returns:
        uint8 tensor (height, width, 3).
    """
    pixels = tf.io.decode_image(data, channels=3, expand_animations=False)  # (h, w, 3)
    orientation = exif_orientation(data)
    # Resized first, since turning a smaller image is cheaper.
    height, width = image_size
    size = tf.where(orientation >= 5, (width, height), (height, width))
    pixels = orient(resize(pixels, size), orientation)
    return tf.ensure_shape(pixels, (height, width, 3))


def resize(pixels: Any, image_size: Any) -> tf.Tensor:
    """Resizes pixels (h, w, 3) from 0 to 255 to uint8 (height, width, 3), with antialiasing."""
    pixels = tf.image.resize(pixels, image_size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(tf.cast(pixels, tf.float32)), 0, 255), tf.uint8)


def read_image(
    image: str | os.PathLike | bytes | np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """Reads an image from a path, bytes or an array, and resizes it.

    The size in the header of a file is checked before it is decoded.

    Args:
        image: Path of a file, its bytes, or an array (h, w, 3), (h, w, 1) or (h, w) of integers
            from 0 to 255 or of floats from 0 to 1.
        image_size: Height and width of the result.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: If the file does not exist, is not an image or exceeds the limits of
            `keras_attention.utils.limits`, or the array has another shape or other values.
    """
    if isinstance(image, bytes):
        return _decode_and_resize(image, image_size, f"{len(image)} bytes, {image[:8]!r}...")
    if isinstance(image, str | os.PathLike):
        path = str(image)
        if not os.path.exists(path) or os.path.isdir(path):
            raise ValueError(f"`image` must be an existing file. Received: image={path!r}")
        return _decode_and_resize(read_bytes(path, "image_bytes"), image_size, repr(path))
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]  # (h, w, 1)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(
            "`image` must have shape (height, width), (height, width, 1) or (height, width, 3). "
            f"Received: image.shape={np.shape(image)}"
        )
    if pixels.dtype.kind not in "uif":
        raise ValueError(
            f"`image` must be an array of numbers. Received: image.dtype={pixels.dtype}"
        )
    is_float = pixels.dtype.kind == "f"
    if not 0 <= pixels.min() <= pixels.max() <= (1 if is_float else 255):
        raise ValueError(
            "`image` must have integers from 0 to 255 or floats from 0 to 1. "
            f"Received: {pixels.dtype} values from {pixels.min()} to {pixels.max()}"
        )
    pixels = pixels.astype("float32") * (255.0 if is_float else 1.0)
    return resize(np.repeat(pixels, 3 // pixels.shape[2], axis=2), image_size).numpy()


def _decode_and_resize(data: bytes, image_size: tuple[int, int], name: str) -> np.ndarray:
    check_image_size(data, name)
    try:
        return decode_image(tf.constant(data), image_size).numpy()
    except tf.errors.OpError as error:
        reason = error.message.split("}} ")[-1].split(" [Op:")[0]
        raise ValueError(f"`image` must be a JPEG or PNG. Received: {name}: {reason}") from error
