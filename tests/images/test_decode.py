import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_attention.images import decode_image, decode_images, read_image
from keras_attention.images.orientation import exif_orientation
from keras_attention.utils.limits import limits

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 3)).astype("uint8")
GREY, ALPHA = PIXELS[:, :, :1], np.concatenate([PIXELS, PIXELS[:, :, :1]], axis=2)
SIZE = PIXELS.shape[:2]


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


@pytest.mark.parametrize(
    "image, expected",
    [
        (PIXELS, PIXELS),
        (PIXELS / 255, PIXELS),
        (GREY, np.repeat(GREY, 3, axis=2)),
        (GREY[:, :, 0], np.repeat(GREY, 3, axis=2)),
        (png(PIXELS), PIXELS),
        (png(GREY), np.repeat(GREY, 3, axis=2)),
        (png(ALPHA), PIXELS),
        (png(PIXELS.astype("uint16") * 257), PIXELS),
    ],
    ids=["array", "floats", "grey array", "flat array", "png", "grey", "alpha", "16 bits"],
)
def test_all_formats_become_three_channels_of_eight_bits(image, expected):
    read = read_image(image, SIZE)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, expected)


def test_path_and_bytes_give_the_same_pixels(tmp_path):
    flat = np.repeat(np.array([50, 200], "uint8"), 16)  # by blocks of JPEG's 8 x 8
    flat = np.broadcast_to(flat[None, :, None], (16, 32, 3))
    path = tmp_path / "image.jpg"
    path.write_bytes(tf.io.encode_jpeg(flat, quality=100).numpy())
    read = read_image(path, (16, 32))
    assert np.abs(read.astype(int) - flat).max() <= 3  # JPEG is not exact
    np.testing.assert_array_equal(read_image(path.read_bytes(), (16, 32)), read)
    np.testing.assert_array_equal(read_image(str(path), (16, 32)), read)


def test_resizing_averages_and_does_not_keep_the_aspect_ratio():
    halves = np.zeros((4, 8, 3), "uint8")
    halves[:, 4:] = 200
    left, right = read_image(halves, (2, 2))[0, :, 0].astype(int)
    assert left < 30 and right > 170 and abs(left + right - 200) <= 1
    checks = np.tile(np.array([[0, 100], [100, 0]], "uint8"), (8, 8))
    assert (np.abs(read_image(checks, (2, 2)).astype(int) - 50) <= 1).all()
    one = np.full((1, 1, 3), 7, "uint8")
    np.testing.assert_array_equal(read_image(one, (3, 5)), np.full((3, 5, 3), 7))


def test_graph_equals_eager():
    images = [png(PIXELS), png(GREY), png(ALPHA[:3])]
    graph = tf.function(decode_images).get_concrete_function(
        tf.TensorSpec((None,), tf.string), (5, 4)
    )
    expected = np.stack([read_image(image, (5, 4)) for image in images])
    np.testing.assert_array_equal(graph(tf.constant(images)).numpy(), expected)
    assert graph(tf.constant([], tf.string)).shape == (0, 5, 4, 3)


def little(*numbers, size):
    return b"".join(number.to_bytes(size, "little") for number in numbers)


def jxl_header(height, width):
    """The beginning of a JPEG XL codestream: sides of 30 bits, selected by the bits 11."""
    bits = 0 | 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38
    return b"\xff\x0a" + bits.to_bytes(12, "little")


def header(kind, width=20_000, height=10_000):
    """Headers that claim 20,000 x 10,000 pixels, which nobody should begin to decode."""
    if kind == "png":
        data = bytearray(png(PIXELS))
        data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        return bytes(data)
    if kind == "jpeg":
        data = tf.io.encode_jpeg(PIXELS).numpy()
        start = data.index(b"\xff\xc0") + 5
        sides = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        return data[:start] + sides + data[start + 4 :]
    if kind == "gif":
        return b"GIF89a" + little(width, height, size=2) + bytes(3)
    if kind == "gif frame":
        frame = b"," + little(0, 0, width, height, size=2) + bytes(3)
        return b"GIF89a" + little(1, 1, size=2) + bytes(3) + frame
    if kind == "gif frames":  # an extension, then many frames of 600 x 600
        frame = b"," + little(0, 0, 600, 600, size=2) + b"\0\2\1x\0"
        return b"GIF89a" + little(600, 600, size=2) + bytes(3) + b"!\xf9\1a\0" + frame * 1000
    if kind == "bmp":
        return b"BM" + bytes(16) + little(width, 2**32 - height, size=4) + bytes(30)
    if kind == "vp8x":
        return b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + little(width - 1, height - 1, size=3)
    if kind == "vp8l":  # the largest size is 16,384
        bits = 16_383 | 9_999 << 14
        return b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0/" + little(bits, size=4)
    if kind == "vp8":
        return b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\1*" + little(16_383, 9_999, size=2)
    codestream = jxl_header(height, width)
    if kind == "jxl":
        return codestream
    boxes = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x0cftypjxl " + b"\0\0\0\0jxlc"
    return boxes + codestream


KINDS = ["png", "jpeg", "gif", "gif frame", "gif frames", "bmp", "vp8x", "vp8l", "vp8", "jxl"]


@pytest.mark.parametrize("kind", [*KINDS, "jxl boxes"])
def test_size_in_the_header_of_every_format_is_limited(kind):
    with pytest.raises(ValueError, match="at most 89478485 pixels.* Received: .* bytes"):
        read_image(header(kind), SIZE)


@pytest.mark.parametrize("kind", [*KINDS, "jxl boxes"])
def test_incomplete_headers_are_value_errors(kind):
    whole = header(kind)
    for length in range(min(len(whole), 40)):
        with pytest.raises(ValueError, match="`image` must"):
            read_image(whole[:length], SIZE)


def test_limits_are_configurable(monkeypatch):
    read_image(png(PIXELS), SIZE)
    monkeypatch.setattr(limits, "image_pixels", 47)
    with pytest.raises(ValueError, match="at most 47 pixels.*, 8 x 6"):
        read_image(png(PIXELS), SIZE)
    monkeypatch.setattr(limits, "image_side", 7)
    monkeypatch.setattr(limits, "image_pixels", 48)
    with pytest.raises(ValueError, match="sides of at most 7 pixels.*, 8 x 6"):
        read_image(png(PIXELS), SIZE)


decode_in_graph = tf.function(decode_image)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format, orientation):
    """Eight colors in blocks, turned as Pillow turns them; also in a graph."""
    colors = RNG.integers(0, 256, (2, 4, 3)).astype("uint8")
    pixels = np.repeat(np.repeat(colors, 16, 0), 16, 1)
    for order in ("<", ">"):
        exif = Image.Exif()
        exif.endian = order
        exif[0x010F], exif[0x0112] = "a maker", orientation
        file = io.BytesIO()
        options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {"lossless": True}
        Image.fromarray(pixels).save(file, format, exif=exif, **options)
        upright = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
        read = read_image(file.getvalue(), upright.shape[:2])
        assert np.abs(read.astype(int) - upright).max() <= 4
        smaller = read_image(file.getvalue(), (10, 13))
        assert np.abs(smaller.astype(int) - read_image(upright, (10, 13))).max() <= 4
        graph = decode_in_graph(tf.constant(file.getvalue()), (10, 13))
        np.testing.assert_array_equal(graph.numpy(), smaller)


def test_animations():
    """The first frame of a GIF is read; an animated WebP is refused."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(file.getvalue(), (1, 1)), [[[255, 0, 0]]])
    frames[0].save(file := io.BytesIO(), "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="must be a JPEG or PNG.*Animation"):
        read_image(file.getvalue(), (1, 1))


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff" + b"\x12\1\3\0\1\0\0\0\x09\0\0\0",
        b"II*\0\x08\0\0\0\1\0" + b"\x12\1\4\0\1\0\0\0\6\0\0\0",
    ],
)
def test_damaged_exif_data_is_ignored(exif):
    data = tf.io.encode_jpeg(PIXELS).numpy()
    segment = b"\xff\xe1" + (8 + len(exif)).to_bytes(2, "big") + b"Exif\0\0" + exif
    for start in (data[:2] + segment, data[:2] + b"\xff\xe0\0\0"):
        np.testing.assert_array_equal(exif_orientation(start + data[2:]), 1)
    np.testing.assert_array_equal(read_image(data[:2] + segment + data[2:], SIZE).shape, (6, 8, 3))


@pytest.mark.parametrize(
    "image, message",
    [
        (b"", "must be a JPEG or PNG.* Received: 0 bytes.*: it is empty"),
        (b"no image at all", "must be a JPEG or PNG.* Received: 15 bytes.*: it has no complete"),
        (png(PIXELS)[:60], "must be a JPEG or PNG.* Received: 60 bytes, b'.x89PNG"),
        (tf.io.encode_jpeg(PIXELS).numpy()[:300], "must be a JPEG or PNG.* Received: 300 bytes"),
        (header("png"), "at most 89478485 pixels, .* 20000 x 10000"),
        ("nowhere.jpg", "an existing file. Received: image='nowhere.jpg'"),
        (PIXELS[:, :, :2], r"must have shape .*Received: image.shape=\(6, 8, 2\)"),
        (PIXELS[None], r"must have shape .*Received: image.shape=\(1, 6, 8, 3\)"),
        (PIXELS[:0], r"must have shape .*Received: image.shape=\(0, 8, 3\)"),
        (PIXELS.astype("int32") * 2 - 200, "0 to 255 or floats .*Received: int32 values from -"),
        (PIXELS / 1.0, "floats from 0 to 1. Received: float64 values from 0.0 to 2"),
        (np.array([["a", "b"]] * 2), "array of numbers. Received: image.dtype=<U1"),
    ],
)
def test_invalid_images(image, message):
    with pytest.raises(ValueError, match=message):
        read_image(image, SIZE)


def test_damaged_file_is_reported(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(png(PIXELS)[:50])
    with pytest.raises(ValueError, match="must be a JPEG or PNG.* Received: '.*broken.png'"):
        read_image(path, SIZE)
