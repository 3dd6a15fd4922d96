"""Decoding of images in an exported graph: JPEG and PNG of limited size.

A server decodes what anyone sends, so each limit is checked before anything is decoded.
"""

import tensorflow as tf

from keras_attention.images.decode import decode_image

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 2**25  # 5,800 x 5,800, which is 100 MB of RGB
MAX_SIDE = 65_535  # resizing needs memory for each column, at the new height
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
PNG_HEADER = 24  # bytes to the end of the size


def decode_images(data: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Decodes and resizes JPEG and PNG images.

    Args:
        data: Strings (batch,), the bytes of the files.
        image_size: Height and width of the result.

    Returns:
        uint8 tensor (batch, height, width, 3).

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs, if a file is neither JPEG nor PNG,
            cannot be decoded, or exceeds `MAX_BYTES`, `MAX_PIXELS` or `MAX_SIDE`.
    """
    return tf.map_fn(
        lambda one: decode_image(check_served_image(one), image_size),
        data,
        fn_output_signature=tf.TensorSpec((*image_size, 3), tf.uint8),
    )


def check_served_image(data: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of one image; running it fails if they exceed a limit."""
    size = tf.strings.length(data)
    is_jpeg = tf.equal(tf.strings.substr(data, 0, len(JPEG)), JPEG)
    is_png = tf.equal(tf.strings.substr(data, 0, len(PNG)), PNG)
    checks = [
        tf.debugging.Assert(
            size <= MAX_BYTES,
            [f"An image must have at most {MAX_BYTES} bytes. Received:", size],
        ),
        tf.debugging.Assert(
            is_jpeg | is_png,
            ["An image must be a JPEG or PNG file. Received:", tf.strings.substr(data, 0, 12)],
        ),
    ]
    with tf.control_dependencies(checks):
        data = tf.identity(data)
    shape = tf.cond(is_png, lambda: _png_shape(data), lambda: _jpeg_shape(data))
    check = tf.debugging.Assert(
        tf.reduce_prod(tf.cast(shape, tf.float64)) <= MAX_PIXELS,  # int64 would overflow
        [f"An image must have at most {MAX_PIXELS} pixels. Received: height and width", shape],
    )
    check_side = tf.debugging.Assert(
        tf.reduce_max(shape) <= MAX_SIDE,
        [f"An image must have at most {MAX_SIDE} pixels a side. Received: height and width", shape],
    )
    with tf.control_dependencies([check, check_side]):
        return tf.identity(data)


def _png_shape(data: tf.Tensor) -> tf.Tensor:
    """Returns height and width, int64 (2,), zeros if the header is cut."""
    header = tf.strings.join([tf.strings.substr(data, 0, PNG_HEADER), b"\0" * PNG_HEADER])
    digits = tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.uint8)
    digits = tf.reshape(tf.cast(digits, tf.int64), (2, 4))  # of width and height, in base 256
    sizes = tf.reduce_sum(digits * tf.constant([2**24, 2**16, 2**8, 1], tf.int64), axis=1)
    return tf.reverse(sizes, [0])  # height, width


def _jpeg_shape(data: tf.Tensor) -> tf.Tensor:
    """Returns height and width, int64 (2,)."""
    return tf.cast(tf.io.extract_jpeg_shape(data)[:2], tf.int64)
