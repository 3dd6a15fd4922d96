"""Image backbones: the residual CNN against NumPy, and keras.applications."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_attention.layers import KerasApplicationBackbone, Patches, ResidualCNN


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def data(shape=(2, 10, 12, 3)):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def convolve(x, kernel, stride):
    """Convolution with zero padding; output sizes are the input sizes over the stride."""
    size = len(kernel)
    outs = [-(-n // stride) for n in x.shape[1:3]]
    missing = [
        max((out - 1) * stride + size - n, 0) for out, n in zip(outs, x.shape[1:3], strict=True)
    ]
    x = np.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])
    y = np.zeros((len(x), *outs, kernel.shape[-1]))
    for row, column in np.ndindex(*outs):
        top, left = row * stride, column * stride
        window = x[:, top : top + size, left : left + size]
        y[:, row, column] = np.einsum("bhwc,hwcd->bd", window, kernel)
    return y


def normalize(x, norm):
    gamma, beta, mean, variance = (array(w).astype("float64") for w in norm.weights)
    return gamma * (x - mean) / np.sqrt(variance + norm.epsilon) + beta


def kernel_of(layer):
    return array(layer.kernel).astype("float64")


def test_residual_cnn_follows_the_equations():
    layer = ResidualCNN((4, 6), blocks=2)
    layer.build((None, None, None, 3))
    rng = np.random.default_rng(1)
    layer.set_weights(
        [rng.uniform(0.1, 0.9, size=w.shape) - 0.4 * (w.ndim == 4) for w in layer.get_weights()]
    )
    x = data().astype("float64")
    x = np.maximum(normalize(convolve(x, kernel_of(layer.stem), 2), layer.stem_norm), 0)
    assert len(layer.stack) == 4
    for block, stride in zip(layer.stack, (1, 1, 2, 1), strict=True):
        y = normalize(convolve(x, kernel_of(block.first), stride), block.first_norm)
        y = convolve(np.maximum(y, 0), kernel_of(block.second), 1)
        y = normalize(y, block.second_norm)
        # He et al. 2016, equation 1; equation 2 where the shape changes
        assert (block.shortcut is None) == (x.shape == y.shape)
        past = x if block.shortcut is None else convolve(x, kernel_of(block.shortcut), stride)
        x = np.maximum(y + past, 0)
    output = array(layer(data()))
    assert output.shape == x.shape == layer.compute_output_shape((2, 10, 12, 3)) == (2, 3, 3, 6)
    assert (x > 0).mean() > 0.2
    np.testing.assert_allclose(output, x, rtol=1e-4, atol=1e-4)


def test_receptive_fields_are_centered_on_their_cells():
    layer = ResidualCNN((4, 6, 8))
    layer.build((None, None, None, 3))
    # With symmetric kernels, a mirrored image has a mirrored feature grid.
    layer.set_weights([w + w[::-1, ::-1] if w.ndim == 4 else w for w in layer.get_weights()])
    images = data((2, 32, 16, 3))
    output = array(layer(images[:, ::-1, ::-1]))
    assert output.std() > 0.1
    np.testing.assert_allclose(output, array(layer(images))[:, ::-1, ::-1], rtol=1e-4, atol=1e-4)


def test_keras_layer_requirements():
    TestCase().run_layer_test(
        ResidualCNN,
        init_kwargs={"filters": (4, 8), "blocks": 1},
        input_shape=(2, 10, 12, 3),
        expected_output_shape=(2, 3, 3, 8),
        # a kernel, a scale and an offset for each of five convolutions, and one shortcut
        expected_num_trainable_weights=16,
        expected_num_non_trainable_weights=10,
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResidualCNN((4,)),
        lambda: KerasApplicationBackbone("MobileNetV2", options={"alpha": 0.35}),
        lambda: Patches(4, 8),
    ],
)
def test_images_with_channels_first_are_refused(make):
    with pytest.raises(ValueError, match=r"channels last.*Received: .*=\(2, 3, 32, 32\)"):
        make()(np.zeros((2, 3, 32, 32), "float32"))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_approximates_float32(policy):
    full, half = ResidualCNN((4, 8)), ResidualCNN((4, 8), dtype=policy)
    expected = full(data())
    half.build((None, 10, 12, 3))
    half.set_weights(full.get_weights())
    output = half(data())
    assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
    np.testing.assert_allclose(array(output), array(expected), atol=0.15, rtol=0.03)


def mobile_net(**options):
    """Returns a small network with kernels large enough for visible features."""
    backbone = KerasApplicationBackbone("MobileNetV2", options={"alpha": 0.35}, **options)
    backbone.set_weights([3 * w if w.ndim == 4 else w for w in backbone.get_weights()])
    return backbone


def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype("float32")


@pytest.mark.slow_on_tensorflow
def test_application_is_applied_after_its_preprocessing():
    keras.config.set_image_data_format("channels_first")  # must have no effect
    try:
        backbone = mobile_net(trainable=True)
    finally:
        keras.config.set_image_data_format("channels_last")
    expected = array(backbone.model(keras.applications.mobilenet_v2.preprocess_input(pixels())))
    output = array(backbone(pixels() / 127.5 - 1))
    assert output.shape == backbone.compute_output_shape((2, 64, 96, 3)) == (2, 2, 3, 1280)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4)

    trained = array(backbone(pixels() / 127.5 - 1, training=True))
    assert np.abs(trained - output).max() > 0.1  # batch statistics
    assert len(backbone.trainable_weights) > 100
    backbone.trainable = False
    output = array(backbone(pixels() / 127.5 - 1))
    for training in (True, False):
        np.testing.assert_array_equal(
            array(backbone(pixels() / 127.5 - 1, training=training)), output
        )
    assert not backbone.trainable_weights


@pytest.mark.slow
def test_weights_are_read_from_a_file_then_from_the_saved_model(tmp_path):
    file = tmp_path / "mobile.weights.h5"
    backbone = mobile_net()
    backbone.model.save_weights(file)
    expected = array(backbone(pixels() / 127.5 - 1))
    restored = KerasApplicationBackbone("MobileNetV2", file, options={"alpha": 0.35})
    np.testing.assert_allclose(
        array(restored(pixels() / 127.5 - 1)), expected, rtol=1e-5, atol=1e-6
    )
    keras.Sequential([keras.Input((64, 96, 3)), restored]).save(tmp_path / "model.keras")
    file.unlink()
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == restored.get_config()
    assert not loaded.trainable_weights
    np.testing.assert_allclose(array(loaded(pixels() / 127.5 - 1)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ResidualCNN(()), "`number of stages` must be positive"),
        (lambda: ResidualCNN((4, 0)), "`filters` must be positive. Received: filters=0"),
        (lambda: ResidualCNN((4,), blocks=0), "`blocks` must be positive. Received: blocks=0"),
        (
            lambda: KerasApplicationBackbone("MobileNet9"),
            "`network` must be one of .*'MobileNetV2'.* Received: network='MobileNet9'",
        ),
        (
            lambda: KerasApplicationBackbone("MobileNetV2", "no/such.weights.h5"),
            "`weights` must be .* Received: weights='no/such.weights.h5'",
        ),
    ],
)
def test_invalid_arguments_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()
