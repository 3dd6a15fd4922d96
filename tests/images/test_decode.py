import numpy as np
import pytest
import tensorflow as tf

from keras_attention.images import decode_images, read_image

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
        (PIXELS / 1.0, PIXELS),
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


def huge_png():
    """A header that promises 20,000 x 20,000 pixels, which nobody should begin to decode."""
    data = bytearray(png(PIXELS))
    data[16:24] = (20000).to_bytes(4, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    "image, message",
    [
        (b"", "must be a JPEG or PNG. Received: 0 bytes.*: Input is empty"),
        (b"no image at all", "must be a JPEG or PNG. Received: 15 bytes.*: Unknown image"),
        (png(PIXELS)[:60], "must be a JPEG or PNG. Received: 60 bytes, b'.x89PNG"),
        (tf.io.encode_jpeg(PIXELS).numpy()[:300], "must be a JPEG or PNG. Received: 300 bytes"),
        (huge_png(), "at most 33554432 pixels. Received: .* 20000 x 20000"),
        ("nowhere.jpg", "an existing file. Received: image='nowhere.jpg'"),
        (PIXELS[:, :, :2], r"must have shape .*Received: image.shape=\(6, 8, 2\)"),
        (PIXELS[None], r"must have shape .*Received: image.shape=\(1, 6, 8, 3\)"),
        (PIXELS[:0], r"must have shape .*Received: image.shape=\(0, 8, 3\)"),
        (PIXELS * 2.0 - 200, "values from 0 to 255. Received: values from -"),
        (np.array([["a", "b"]] * 2), "array of numbers. Received: image.dtype=<U1"),
    ],
)
def test_invalid_images(image, message):
    with pytest.raises(ValueError, match=message):
        read_image(image, SIZE)


def test_damaged_file_is_reported(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(png(PIXELS)[:50])
    with pytest.raises(ValueError, match="must be a JPEG or PNG. Received: '.*broken.png'"):
        read_image(path, SIZE)
