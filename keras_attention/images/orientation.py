"""EXIF orientation of images, read and applied with operations of a TensorFlow graph."""

import tensorflow as tf

TAG, SHORT = 0x0112, 3  # of the orientation, and its type
MAX_SEGMENTS = 64  # that are searched for EXIF data
MAX_ENTRIES = 256  # that are searched for the orientation


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def exif_orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG, PNG or WebP file: 1 to 8, 1 if there is none.

    Only the places are read where each format has EXIF data: the APP1 segment of JPEG, and the
    chunks `eXIf` of PNG and `EXIF` of WebP.

    Args:
        data: Scalar string, the bytes of the file; damaged ones are allowed.
    """
    length = tf.cast(tf.strings.length(data), "int64")
    start = tf.strings.substr(data, 0, 2)
    is_jpeg, is_png, is_webp = start == b"\xff\xd8", start == b"\x89P", start == b"RI"
    position = tf.where(is_jpeg, 2, tf.where(is_png, 8, 12))
    position = tf.where(is_jpeg | is_png | is_webp, tf.cast(position, "int64"), length)

    def is_inside(number, position, exif):
        return (number < MAX_SEGMENTS) & (exif < 0) & (position + 16 <= length)

    def next_segment(number, position, exif):
        head = _bytes(data, position, 16)
        marker, kind = head[1], tf.strings.substr(data, position, 14)
        jpeg_size = 2 + _number(head[2:4], big_endian=True)
        png_size = 12 + _number(head[:4], big_endian=True)
        webp_size = _number(head[4:8], big_endian=False)
        webp_size += 8 + webp_size % 2
        size = tf.where(is_jpeg, jpeg_size, tf.where(is_png, png_size, webp_size))
        at_jpeg = is_jpeg & (marker == 0xE1) & (tf.strings.substr(kind, 4, 6) == b"Exif\0\0")
        at_png = is_png & (tf.strings.substr(kind, 4, 4) == b"eXIf")
        at_webp = is_webp & (tf.strings.substr(kind, 0, 4) == b"EXIF")
        # Some programs write the prefix of JPEG's segment in WebP too.
        has_prefix = tf.strings.substr(kind, 8, 6) == b"Exif\0\0"
        offset = tf.where(at_jpeg, 10, tf.where(at_webp & has_prefix, 14, 8))
        exif = tf.where(at_jpeg | at_png | at_webp, position + tf.cast(offset, "int64"), exif)
        # The pixels of JPEG begin at the marker DA.
        ends = is_jpeg & ((head[0] != 0xFF) | (marker == 0xDA))
        return number + 1, tf.where(ends, length, position + size), exif

    none = tf.constant(-1, "int64")
    _, _, exif = tf.while_loop(is_inside, next_segment, (0, position, none))
    return tf.cond(
        (exif >= 0) & (exif + 8 <= length),
        lambda: _read_orientation(data, exif, length),
        lambda: 1,
    )


def orient(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors pixels (height, width, 3) to EXIF orientation 1, which is upright."""
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
    # 3 and 4 are upside down, and so are 7 and 8 once they are transposed.
    is_flipped = tf.reduce_any(orientation == [3, 4, 7, 8])
    is_mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    pixels = tf.cond(is_flipped, lambda: pixels[::-1], lambda: pixels)
    return tf.cond(is_mirrored, lambda: pixels[:, ::-1], lambda: pixels)


def _read_orientation(data, start, length):
    """Reads the first directory of EXIF data, which begins at `start` and is a TIFF file."""
    head = _bytes(data, start, 8)
    big = head[0] == ord("M")
    directory = start + _number(head[4:8], big)

    def read():
        count = tf.minimum(_number(_bytes(data, directory, 2), big), MAX_ENTRIES)
        count = tf.minimum(count, (length - directory - 2) // 12)
        entries = tf.reshape(_bytes(data, directory + 2, 12 * count), (-1, 12))
        is_orientation = (_number(entries[:, :2], big) == TAG) & (
            _number(entries[:, 2:4], big) == SHORT
        )
        # Entries with other tags become 0.
        value = tf.where(is_orientation, _number(entries[:, 8:10], big), 0)
        value = tf.reduce_max(tf.concat([value, tf.zeros(1, "int64")], 0))
        return tf.cast(tf.where((value >= 1) & (value <= 8), value, 1), "int32")

    return tf.cond(directory + 14 <= length, read, lambda: 1)


def _bytes(data, start, count):
    """Returns `count` bytes as int64."""
    part = tf.strings.substr(data, start, tf.cast(count, "int64"))
    numbers = tf.cast(tf.io.decode_raw(part, tf.uint8), "int64")
    return tf.ensure_shape(numbers, (count if isinstance(count, int) else None,))


def _number(digits, big_endian):
    """Returns the unsigned integer of 2 or 4 bytes on the last axis."""
    count = digits.shape[-1]
    powers = tf.constant([256**power for power in range(count)], "int64")
    powers = tf.where(big_endian, powers[::-1], powers)
    return tf.reduce_sum(digits * powers, -1)
