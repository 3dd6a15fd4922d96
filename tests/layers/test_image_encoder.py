"""Image encoder and patch embedding against NumPy written from the equations."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_attention.layers import (
    EncoderBlock,
    ImageEncoder,
    Patches,
    ResidualCNN,
    TransformerEncoder,
)
from keras_attention.layers.image_encoder import positions_2d

HEIGHT, WIDTH, PATCH, DIM = 16, 24, 8, 12
ROWS, COLUMNS = 2, 3


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def images(count=2):
    shape = (count, HEIGHT, WIDTH, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def make(policy="float32", with_body=False, **options):
    block = EncoderBlock(num_heads=2, intermediate_dim=16, dtype=policy)
    return ImageEncoder(
        Patches(PATCH, DIM, dtype=policy),
        (HEIGHT, WIDTH),
        body=TransformerEncoder([block], dtype=policy) if with_body else None,
        dtype=policy,
        **options,
    )


def patches(x, kernel, bias):
    """`x_p E` (Dosovitskiy et al. 2021, equation 1): cut, flatten, multiply."""
    x = x.reshape(len(x), ROWS, PATCH, COLUMNS, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(len(x), ROWS * COLUMNS, PATCH * PATCH * 3)
    return x @ kernel.reshape(-1, DIM).astype("float64") + bias


def sinusoids(position, width):
    """Vaswani et al. 2017, section 3.5."""
    angles = [position / 10000 ** (2 * (i // 2) / width) for i in range(width)]
    return [np.cos(angle) if i % 2 else np.sin(angle) for i, angle in enumerate(angles)]


def grid_sinusoids(rows, columns, width):
    """Carion et al. 2020, appendix A.4: half of the features for each axis."""
    half = width // 2
    return np.array(
        [
            sinusoids(row, half) + sinusoids(column, half)
            for row in range(rows)
            for column in range(columns)
        ]
    )


def test_patches_are_a_matrix_product():
    layer = Patches(PATCH, DIM)
    x = np.random.default_rng(0).normal(size=(2, HEIGHT, WIDTH, 3)).astype("float32")
    layer.build(x.shape)
    layer.projection.bias.assign(np.arange(DIM))
    expected = patches(x.astype("float64"), array(layer.projection.kernel), np.arange(DIM))
    output = array(layer(x))
    assert output.shape == (2, ROWS, COLUMNS, DIM)
    np.testing.assert_allclose(output.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


def test_positions_2d_follow_the_equation():
    np.testing.assert_allclose(array(positions_2d(3, 5, 8)), grid_sinusoids(3, 5, 8), atol=1e-6)


@pytest.mark.parametrize("with_body", [False, True])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", None])
def test_output_is_the_body_applied_to_grid_and_positions(positions, with_body):
    encoder = make(positions=positions, with_body=with_body)
    encoded = encoder(images())
    kernel, bias = (array(w) for w in encoder.backbone.projection.get_weights())
    expected = patches(images() / 127.5 - 1, kernel, bias)
    if positions == "sinusoidal":
        expected = expected + grid_sinusoids(ROWS, COLUMNS, DIM)
    if positions == "learned":
        assert encoder.table.shape == (ROWS * COLUMNS, DIM)
        assert np.abs(array(encoder.table)).max() > 1e-3
        expected = expected + array(encoder.table)
    if with_body:
        expected = array(encoder.body(expected.astype("float32"))["sequence"])
    np.testing.assert_allclose(array(encoded["sequence"]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(encoded["state"]), expected.mean(1), rtol=1e-4, atol=1e-5)


def test_cells_are_ordered_row_by_row():
    encoder = make(positions=None)
    assert encoder.grid_shape == (ROWS, COLUMNS)
    encoder.build((None, HEIGHT, WIDTH, 3))
    encoder.backbone.projection.kernel.assign(np.ones((PATCH, PATCH, 3, DIM)))
    for row in range(ROWS):
        for column in range(COLUMNS):
            image = np.zeros((1, HEIGHT, WIDTH, 3), "uint8")
            image[0, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = 255
            feature = array(encoder(image)["sequence"])[0, :, 0]
            assert feature.argmax() == row * COLUMNS + column
            assert (feature > 0).sum() == 1


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_integer_and_float_images_give_the_same_output(policy):
    encoder = make(policy)
    expected = array(encoder(images())["sequence"])
    for dtype in ("float32", "float64", "int32"):
        np.testing.assert_array_equal(array(encoder(images().astype(dtype))["sequence"]), expected)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_sublayers_follow_the_dtype_policy_of_the_layer(policy):
    """And not the global policy at the time of construction or loading."""
    options = {"positions": "learned", "with_body": True}
    full, half = make(**options), make(policy, **options)
    expected = full(images())
    half = ImageEncoder.from_config(half.get_config())
    half.build((None, HEIGHT, WIDTH, 3))
    half.set_weights(full.get_weights())
    for name, output in half(images()).items():
        assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
        np.testing.assert_allclose(array(output), array(expected[name]), atol=0.06)


def test_no_cell_is_masked():
    mask = make().compute_mask(ops.convert_to_tensor(images()))
    np.testing.assert_array_equal(ops.convert_to_numpy(mask), np.ones((2, ROWS * COLUMNS), bool))


def test_dropout_is_applied_in_training_only():
    encoder = make(dropout=0.5)
    inference = array(encoder(images())["sequence"])
    np.testing.assert_array_equal(array(encoder(images())["sequence"]), inference)
    training = array(encoder(images(), training=True)["sequence"])
    dropped = training == 0
    assert 0.3 < dropped.mean() < 0.7
    np.testing.assert_allclose(training[~dropped], 2 * inference[~dropped], rtol=1e-5)


def test_saved_model_gives_the_same_output(tmp_path):
    body = TransformerEncoder([EncoderBlock(num_heads=2, intermediate_dim=16)])
    encoder = ImageEncoder(ResidualCNN((8,)), (HEIGHT, WIDTH), "learned", body, dropout=0.1)
    source = encoder.source_input()
    assert source.shape == (None, HEIGHT, WIDTH, 3)
    model = keras.Model(source, encoder(source))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for count in (1, 3):
        output, expected = loaded(images(count)), model(images(count))
        for name in ("sequence", "state"):
            np.testing.assert_allclose(array(output[name]), array(expected[name]), atol=1e-6)
    config = encoder.get_config()
    assert ImageEncoder.from_config(config).get_config() == config


def test_keras_layer_requirements():
    TestCase().run_layer_test(
        Patches,
        init_kwargs={"patch_size": PATCH, "hidden_dim": DIM},
        input_shape=(2, HEIGHT, WIDTH, 3),
        expected_output_shape=(2, ROWS, COLUMNS, DIM),
        expected_num_trainable_weights=2,
    )
    TestCase().run_layer_test(
        ImageEncoder,
        init_kwargs={
            "backbone": Patches(PATCH, DIM),
            "image_size": (HEIGHT, WIDTH),
            "positions": "learned",
            "dropout": 0.1,
        },
        input_shape=(2, HEIGHT, WIDTH, 3),
        expected_output_shape={"sequence": (2, ROWS * COLUMNS, DIM), "state": (2, DIM)},
        expected_output_dtype={"sequence": "float32", "state": "float32"},
        expected_num_trainable_weights=3,
        run_training_check=False,  # sums a single output; tests/models trains the layer
        run_mixed_precision_check=False,  # ignores the backbone's policy; see the test above
    )


@pytest.mark.parametrize(
    "make_invalid, message",
    [
        (lambda: Patches(0, 4), "`patch_size` must be positive. Received: patch_size=0"),
        (lambda: Patches(4, 0), "`hidden_dim` must be positive. Received: hidden_dim=0"),
        (
            lambda: Patches(7, 4)(np.zeros((1, 14, 16, 3))),
            r"`patch_size` must divide .* patch_size=7, images.shape=\(1, 14, 16, 3\)",
        ),
        (lambda: make(positions="2d"), "`positions` must be one of .* positions='2d'"),
        (
            lambda: ImageEncoder(Patches(8, 4), (0, 8)),
            "`image_size` must be positive. Received: image_size=0",
        ),
        (
            lambda: ImageEncoder(Patches(8, 6), 8)(np.zeros((1, 8, 8, 3))),
            "Sinusoidal `positions` require .* channels=6",
        ),
        (lambda: make()(np.zeros((1, 32, 24, 3))), r"found shape=\(1, 32, 24, 3\)"),
    ],
)
def test_invalid_arguments_raise(make_invalid, message):
    with pytest.raises(ValueError, match=message):
        make_invalid()


def test_valid_images_pass_the_check():
    for valid in (images(), images(0), images().astype("int32"), images().tolist()):
        make().check(valid)


@pytest.mark.parametrize(
    "invalid, message",
    [
        (images()[0], r"must be .*\('batch', 16, 24, 3\). Received: source.shape=\(16, 24, 3\)"),
        (images()[..., :1], r"Received: source.shape=\(2, 16, 24, 1\)"),
        (images()[:, :, :16], r"Received: source.shape=\(2, 16, 16, 3\)"),
        (images().astype(str), "must contain integers .*Received: source.dtype=<U3"),
        (images() > 9, "must contain integers .*Received: source.dtype=bool"),
        (images() * np.int32(2), "must be between 0 and 255. Received: pixels between 0 and 510"),
        (images() - np.int32(1), "Received: pixels between -1 and 254"),
        (images() / 255, "multiply floats from 0 to 1 by 255 .*Received: source.dtype=float64"),
    ],
)
def test_invalid_images_raise(invalid, message):
    with pytest.raises(ValueError, match="`source` .*" + message):
        make().check(invalid)


def test_backbone_with_channels_first_is_refused():
    backbone = keras.Sequential(
        [keras.layers.Conv2D(4, 3, data_format="channels_first", name="first")]
    )
    with pytest.raises(ValueError, match="Received: first with data_format='channels_first'"):
        ImageEncoder(backbone, 8)
