"""The graph that a server runs refuses images that are too large before it decodes them."""

import struct

import numpy as np
import pytest
import tensorflow as tf

from keras_attention.images import decode_images, read_image
from keras_attention.images.preprocessors import ImagePreprocessor

pytestmark = pytest.mark.tensorflow_only
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")
PNG = tf.io.encode_png(PIXELS).numpy()
JPEG = tf.io.encode_jpeg(PIXELS).numpy()
SIZE = 4, 6


@pytest.fixture(scope="module")
def graph():
    spec = tf.TensorSpec((None,), tf.string)
    return tf.function(lambda data: decode_images(data, SIZE), [spec], autograph=False)


def png_of(width, height):
    return PNG[:16] + struct.pack(">II", width, height) + PNG[24:]


def jpeg_of(width, height):
    start = JPEG.index(b"\xff\xc0") + 5  # of the frame's height and width
    return JPEG[:start] + struct.pack(">HH", height, width) + JPEG[start + 4 :]


def test_jpeg_and_png_are_decoded(graph):
    expected = [read_image(data, SIZE) for data in (JPEG, PNG)]
    np.testing.assert_array_equal(graph(tf.constant([JPEG, PNG])), expected)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png_of(13000, 13000), r"at most 33554432 pixels. Received: height and width\] \[13000 "),
        (png_of(2**32 - 1, 2**32 - 1), r"pixels. Received: .* \[4294967295 4294967295\]"),
        (png_of(2**25 + 1, 1), r"pixels. Received: .* \[1 33554433\]"),
        (jpeg_of(6000, 5600), r"pixels. Received: .* \[5600 6000\]"),
        (PNG + bytes(20 * 2**20), r"at most 20971520 bytes. Received:\] \[20971"),
        (b"", "must be a JPEG or PNG file"),
        (b"GIF89a" + bytes(100), r"must be a JPEG or PNG file. Received:\] \[GIF89a"),
        (b"RIFF\x1a\0\0\0WEBPVP8L", "must be a JPEG or PNG file"),
        (b"BM" + bytes(100), "must be a JPEG or PNG file"),
        (PNG[:8], "Invalid PNG"),
        (PNG[:23], "Invalid PNG"),
        (JPEG[:3], "Invalid JPEG"),
        (JPEG[:100], "Invalid JPEG"),
    ],
)
def test_other_images_end_in_an_error(graph, data, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph(tf.constant([data]))


def test_samples_that_are_not_served_are_recoded():
    bmp = b"BM" + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
    bmp += bytes([10, 20, 30, 0])  # blue, green, red, padding
    samples = ImagePreprocessor(SIZE).samples([JPEG, bmp])
    assert samples[0] == JPEG and samples[1].startswith(b"\x89PNG")
    np.testing.assert_array_equal(read_image(samples[1], SIZE)[0, 0], [30, 20, 10])
