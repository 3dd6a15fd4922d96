"""Decoding of images to pixels, eagerly and in a TensorFlow graph."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

MAX_PIXELS = 2**25  # 5,800 x 5,800, which is 100 MB of RGB


def decode_image(data: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Decodes and resizes one JPEG, PNG or BMP image, or the first frame of a GIF.

    Grayscale becomes three equal channels, transparency is ignored, and 16 bits per channel become
    8. The image is resized with antialiasing and without preserving its aspect ratio.

    Args:
        data: Scalar string, the bytes of the file.
        image_size: Height and width of the result.

    Returns:
        uint8 tensor (height, width, 3).
    """
    pixels = tf.io.decode_image(data, channels=3, expand_animations=False)  # (h, w, 3)
    return resize(pixels, image_size)


def resize(pixels: Any, image_size: tuple[int, int]) -> tf.Tensor:
    """Resizes pixels (h, w, 3) from 0 to 255 to uint8 (height, width, 3), with antialiasing."""
    pixels = tf.image.resize(tf.cast(pixels, tf.float32), image_size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)


def read_image(
    image: str | os.PathLike | bytes | np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """Reads an image from a path, bytes or an array, and resizes it.

    Args:
        image: Path of a file, its bytes, or an array (h, w, 3), (h, w, 1) or (h, w) of numbers from
            0 to 255.
        image_size: Height and width of the result.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: If the file does not exist, is not an image or has more than 2^25 pixels, or
            the array has another shape or other values.
    """
    if isinstance(image, bytes):
        return _decode_and_resize(image, image_size, f"{len(image)} bytes, {image[:8]!r}...")
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        if not path.is_file():
            raise ValueError(f"`image` must be an existing file. Received: image={str(path)!r}")
        return _decode_and_resize(path.read_bytes(), image_size, repr(str(path)))
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
    if not 0 <= pixels.min() <= pixels.max() <= 255:
        raise ValueError(
            "`image` must have values from 0 to 255. "
            f"Received: values from {pixels.min()} to {pixels.max()}"
        )
    return resize(np.repeat(pixels, 3 // pixels.shape[2], axis=2), image_size).numpy()


def _decode_and_resize(data: bytes, image_size: tuple[int, int], name: str) -> np.ndarray:
    size = _size(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f"`image` must have at most {MAX_PIXELS} pixels. "
            f"Received: {name}, {size[1]} x {size[0]}"
        )
    try:
        return decode_image(tf.constant(data), image_size).numpy()
    except tf.errors.OpError as error:
        reason = error.message.split("}} ")[-1].split(" [Op:")[0]
        raise ValueError(f"`image` must be a JPEG or PNG. Received: {name}: {reason}") from error


def _size(data: bytes) -> tuple[int, int] | None:
    """Returns the height and width from the header of a PNG or JPEG, None for other formats."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data[:3] == b"\xff\xd8\xff":
        try:
            shape = tf.io.extract_jpeg_shape(data).numpy()
        except tf.errors.OpError:
            return None
        return int(shape[0]), int(shape[1])
    return None
