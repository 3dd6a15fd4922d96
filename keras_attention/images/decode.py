"""From the bytes of a JPEG or PNG to pixels, in a graph too."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

LARGEST = 2**25  # pixels: 5,800 x 5,800; decoded they are 100 MB


def decode_image(data: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """The bytes of one image to its pixels, resized.

    JPEG and PNG (BMP too, and the first frame of a GIF). Grey becomes three equal channels,
    transparency is ignored, 16 bits a channel become 8. The aspect is not kept: the whole image is
    squeezed to the size, with antialiasing.

    Args:
        data: scalar string.
        image_size: height and width.

    Returns:
        uint8 (height, width, 3).
    """
    pixels = tf.io.decode_image(data, channels=3, expand_animations=False)  # (h, w, 3)
    return resize(pixels, image_size)


def decode_images(data: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """`decode_image` for each string of (batch,): uint8 (batch, height, width, 3)."""
    return tf.map_fn(
        lambda one: decode_image(one, image_size),
        data,
        fn_output_signature=tf.TensorSpec((*image_size, 3), tf.uint8),
    )


def resize(pixels: Any, image_size: tuple[int, int]) -> tf.Tensor:
    """Pixels (h, w, 3) of 0 to 255 to uint8 (height, width, 3)."""
    pixels = tf.image.resize(tf.cast(pixels, tf.float32), image_size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)


def read_image(image: str | os.PathLike | bytes | np.ndarray, image_size: tuple[int, int]):
    """An image in any of the ways that people have one, as pixels.

    Args:
        image: path of a file, its bytes, or an array (h, w, 3), (h, w, 1) or (h, w) of numbers
            from 0 to 255.
        image_size: height and width.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: if there is no such file, it is no image, it has more than 2^25 pixels, or the
            array is no image.
    """
    if isinstance(image, bytes):
        return _decoded(image, image_size, f"{len(image)} bytes, {image[:8]!r}...")
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        if not path.is_file():
            raise ValueError(f"image: expected a file that is there. Received: {str(path)!r}")
        return _decoded(path.read_bytes(), image_size, repr(str(path)))
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]  # (h, w, 1)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(
            "image: expected pixels (height, width), (height, width, 1) or (height, width, 3). "
            f"Received: shape={np.shape(image)}"
        )
    if pixels.dtype.kind not in "uif":
        raise ValueError(f"image: expected numbers. Received: dtype={pixels.dtype}")
    if not 0 <= pixels.min() <= pixels.max() <= 255:
        raise ValueError(
            "image: expected numbers from 0 to 255. "
            f"Received: from {pixels.min()} to {pixels.max()}"
        )
    return resize(np.repeat(pixels, 3 // pixels.shape[2], axis=2), image_size).numpy()


def _decoded(data, image_size, name):
    size = _size(data)
    if size is not None and size[0] * size[1] > LARGEST:
        raise ValueError(
            f"image: expected at most {LARGEST} pixels. Received: {name}, {size[1]} x {size[0]}"
        )
    try:
        return decode_image(tf.constant(data), image_size).numpy()
    except tf.errors.OpError as error:
        said = error.message.split("}} ")[-1].split(" [Op:")[0]
        raise ValueError(f"image: expected a JPEG or PNG. Received: {name}: {said}") from error


def _size(data):
    """Height and width by the header, before anything is decoded; None where it has none."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data[:3] == b"\xff\xd8\xff":
        try:
            shape = tf.io.extract_jpeg_shape(data).numpy()
        except tf.errors.OpError:
            return None
        return int(shape[0]), int(shape[1])
    return None
