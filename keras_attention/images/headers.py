"""Sizes of images, read from the headers of their files before anything is decoded."""

from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from keras_attention.utils.limits import limits

JXL_CODESTREAM, JXL_CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
# Width divided by height, for the ratios 1 to 7 of a JPEG XL header.
JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class ImageSize(NamedTuple):
    """Size of an image.

    Attributes:
        height: Number of rows.
        width: Number of columns.
        frame_pixels: Number of pixels of all frames of a GIF, else 0.
    """

    height: int
    width: int
    frame_pixels: int = 0


def check_image_size(data: bytes, name: str) -> None:
    """Checks the size in the header of an image against the limits.

    Args:
        data: Content of the file.
        name: Name of the image in errors.

    Raises:
        ValueError: If the file is of no known format, has no complete header, or exceeds
            `image_pixels` or `image_side` of `keras_attention.utils.limits`.
    """
    try:
        size = image_size(data)
    except (IndexError, tf.errors.OpError):  # the header is damaged or ends too early
        size = None
    if size is None or min(size[:2]) < 1:
        reason = "it has no complete header" if data else "it is empty"
        raise ValueError(
            "`image` must be a JPEG or PNG, or a BMP, GIF, JPEG XL or WebP. "
            f"Received: {name}: {reason}"
        )
    height, width, frame_pixels = size
    if height * width > limits.image_pixels or frame_pixels > 3 * limits.image_pixels:
        frames = f" and frames of {frame_pixels} pixels" if frame_pixels else ""
        raise ValueError(
            f"`image` must have at most {limits.image_pixels} pixels, the `image_pixels` of "
            f"`keras_attention.utils.limits`. Received: {name}, {width} x {height}{frames}"
        )
    if max(height, width) > limits.image_side:
        raise ValueError(
            f"`image` must have sides of at most {limits.image_side} pixels, the `image_side` of "
            f"`keras_attention.utils.limits`. Received: {name}, {width} x {height}"
        )


def image_size(data: bytes) -> ImageSize | None:
    """Returns the size of an image, `None` for a file of an unknown format.

    Args:
        data: Content of the file.

    Raises:
        IndexError: If the header ends too early.
        OpError: If the header of a JPEG file is damaged.
    """
    if data.startswith(b"\xff\xd8\xff"):
        height, width, _ = tf.io.extract_jpeg_shape(data).numpy()
        return ImageSize(int(height), int(width))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageSize(_big(data, 20, 4), _big(data, 16, 4))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif_size(data)
    if data.startswith(b"BM"):
        # A negative height means that the rows are ordered from top to bottom.
        height = _little(data, 22, 4)
        return ImageSize(min(height, 2**32 - height), _little(data, 18, 4))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data.startswith(JXL_CODESTREAM):
        return _jxl_size(data)
    if data.startswith(JXL_CONTAINER):
        return _jxl_size(_jxl_codestream(data))
    return None


def _part(data: bytes, start: int, count: int) -> bytes:
    if start + count > len(data):
        raise IndexError
    return data[start : start + count]


def _little(data: bytes, start: int, count: int) -> int:
    return int.from_bytes(_part(data, start, count), "little")


def _big(data: bytes, start: int, count: int) -> int:
    return int.from_bytes(_part(data, start, count), "big")


def _gif_size(data: bytes) -> ImageSize:
    """Returns the size of the canvas, which holds the screen and the largest frame."""
    width, height, pixels = _little(data, 6, 2), _little(data, 8, 2), 0
    for frame_width, frame_height in _gif_frames(data):
        width, height = max(width, frame_width), max(height, frame_height)
        pixels += frame_width * frame_height
    return ImageSize(height, width, pixels)


def _gif_frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields width and height of the frames; the decoder unpacks all of them."""
    position = 13 + _color_table(_little(data, 10, 1))
    while position + 10 <= len(data):
        kind = data[position]
        if kind == 0x21:  # an extension
            position += 2
        elif kind == 0x2C:  # a frame
            yield _little(data, position + 5, 2), _little(data, position + 7, 2)
            position += 11 + _color_table(data[position + 9])
        else:
            return
        while position < len(data) and data[position]:  # blocks, each with its length
            position += 1 + data[position]
        position += 1


def _color_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp_size(data: bytes) -> ImageSize | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return ImageSize(_little(data, 27, 3) + 1, _little(data, 24, 3) + 1)
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return ImageSize((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    if kind == b"VP8 ":
        return ImageSize(_little(data, 28, 2) & 0x3FFF, _little(data, 26, 2) & 0x3FFF)
    return None


def _jxl_codestream(data: bytes) -> bytes:
    """Returns the beginning of the codestream in a JPEG XL container."""
    position = 0
    while True:
        size, kind, start = _big(data, position, 4), _part(data, position + 4, 4), position + 8
        if size == 1:
            size, start = _big(data, start, 8), start + 8
        if kind in (b"jxlc", b"jxlp"):  # the whole, or a part with a number
            return data[start + 4 * (kind == b"jxlp") :][:32]
        if size < 8:  # the last box, or a damaged one
            raise IndexError
        position += size


def _jxl_size(data: bytes) -> ImageSize:
    """Returns the size in the `SizeHeader` of ISO/IEC 18181-1, a sequence of bits."""
    bits, position = int.from_bytes(data[:32], "little"), 16

    def read(count):
        nonlocal position
        position += count
        if position > 8 * len(data):
            raise IndexError
        return bits >> (position - count) & (1 << count) - 1

    def read_side():
        return 8 * (read(5) + 1) if is_small else read((9, 13, 18, 30)[read(2)]) + 1

    is_small = read(1)
    height = read_side()
    ratio = read(3)
    if ratio == 0:
        return ImageSize(height, read_side())
    numerator, denominator = JXL_RATIOS[ratio - 1]
    return ImageSize(height, height * numerator // denominator)
