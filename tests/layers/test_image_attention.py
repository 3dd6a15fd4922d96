"""The image attention blocks against the papers' equations in float64."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_attention.layers import NonLocal2D, SelfAttention2D

FORMS = ["gaussian", "embedded_gaussian", "dot_product", "concatenation"]
B, H, W, C = 2, 5, 6, 8


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def data(shape=(B, H, W, C), scale=1.0):
    return (scale * np.random.default_rng(0).normal(size=shape)).astype("float32")


def make(layer, x_shape=(B, H, W, C), scale=0.5):
    """Builds a layer with random weights, as the initial zeros would hide the other weights."""
    if not layer.built:
        layer.build(x_shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(scale=scale, size=w.shape) for w in layer.get_weights()])
    return layer


def weights_of(layer):
    """Returns the kernels as float64 matrices (inputs, outputs), by name."""
    arrays = {w.path.split("/", 1)[-1]: array(w).astype("float64") for w in layer.weights}
    return {
        name.removesuffix("/kernel"): w[0, 0] if w.ndim == 4 else w for name, w in arrays.items()
    }


def max_pool(x, size):
    """Max-pools over squares; padding is divided between both sides, as with "same"."""
    for axis in (1, 2):
        padding = -x.shape[axis] % size
        pads = [(0, 0)] * 4
        pads[axis] = padding // 2, padding - padding // 2
        x = np.pad(x, pads, constant_values=-np.inf)
    batch, rows, columns, width = x.shape
    return x.reshape(batch, rows // size, size, columns // size, size, width).max((2, 4))


def cells(x):
    return x.reshape(len(x), -1, x.shape[-1])


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def sagan(x, w, pool):
    f, g = cells(max_pool(x @ w["key"], pool)), cells(x @ w["query"])
    h = cells(max_pool(x @ w["value"], pool))
    beta = softmax(np.einsum("biu,bju->bji", f, g))  # Zhang et al. 2019, equation 1
    o = np.einsum("bji,biu->bju", beta, h) @ w["output"]  # equation 2
    return w["gamma"] * o.reshape(x.shape) + x, beta  # equation 3


def non_local(x, w, form, pool):
    """Wang et al. 2018, equations 1 to 6, pair by pair."""
    g = cells(max_pool(x @ w["value"], pool))
    if form == "gaussian":
        theta, phi = cells(x), cells(max_pool(x, pool))
    else:
        theta, phi = cells(x @ w["query"]), cells(max_pool(x @ w["key"], pool))
    f = np.zeros((len(x), theta.shape[1], phi.shape[1]))
    for b, i, j in np.ndindex(f.shape):
        if form in ("gaussian", "embedded_gaussian"):
            f[b, i, j] = np.exp(theta[b, i] @ phi[b, j])  # equations 2 and 3
        elif form == "dot_product":
            f[b, i, j] = theta[b, i] @ phi[b, j]  # equation 4
        else:
            pair = np.concatenate([theta[b, i], phi[b, j]])
            f[b, i, j] = max(w["w_f"][:, 0] @ pair, 0)  # equation 5
    gaussian = form in ("gaussian", "embedded_gaussian")
    weights = f / (f.sum(-1, keepdims=True) if gaussian else phi.shape[1])
    y = np.einsum("bij,bju->biu", weights, g)  # equation 1
    return (y @ w["output"]).reshape(x.shape) + x, weights  # equation 6


@pytest.mark.parametrize("pool", [1, 2, 4])
def test_sagan_matches_the_equations(pool):
    layer, x = make(SelfAttention2D(reduction=2, pool_size=pool)), data()
    y, weights = layer(x, return_attention_scores=True)
    expected, beta = sagan(x.astype("float64"), weights_of(layer), pool)
    np.testing.assert_allclose(array(weights), beta, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(y), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(array(layer(x)), array(y))


@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("form", FORMS)
def test_non_local_matches_the_equations(form, pool):
    layer, x = make(NonLocal2D(form, pool_size=pool)), data()
    z, weights = layer(x, return_attention_scores=True)
    expected, expected_weights = non_local(x.astype("float64"), weights_of(layer), form, pool)
    np.testing.assert_allclose(array(weights), expected_weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(z), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(array(layer(x)), array(z))


BLOCKS = [SelfAttention2D(), *(NonLocal2D(form) for form in FORMS)]


def copy_of(block):
    return block.from_config({**block.get_config(), "name": None})


@pytest.mark.parametrize("block", BLOCKS, ids=["sagan", *FORMS])
def test_starts_as_the_identity_and_learns(block):
    layer, x = copy_of(block), data()
    np.testing.assert_array_equal(array(layer(x)), x)
    first = layer.gamma if isinstance(layer, SelfAttention2D) else layer.output_conv.kernel
    assert not array(first).any()
    model = keras.Sequential([keras.Input((H, W, C)), layer])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.train_on_batch(x, data(scale=2.0))
    assert array(first).any()
    assert np.abs(array(layer(x)) - x).max() > 1e-6


@pytest.mark.parametrize("block", BLOCKS, ids=["sagan", *FORMS])
def test_saving_with_dynamic_rows_and_columns(block, tmp_path):
    inputs = keras.Input((None, None, C))
    model = keras.Model(inputs, copy_of(block)(inputs))
    make(model.layers[-1], (None, None, None, C))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
    for shape in ((B, H, W, C), (1, 3, 2, C)):
        np.testing.assert_allclose(
            array(loaded(data(shape))), array(model(data(shape))), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    "layer, options, trainable",
    [
        (SelfAttention2D, {"reduction": 4, "pool_size": 3}, 5),
        (NonLocal2D, {"form": "gaussian"}, 2),
        (NonLocal2D, {"form": "concatenation", "pool_size": 2}, 5),
    ],
)
def test_keras_layer_checks(layer, options, trainable):
    TestCase().run_layer_test(
        layer,
        init_kwargs=options,
        input_shape=(B, H, W, C),
        expected_output_shape=(B, H, W, C),
        expected_num_trainable_weights=trainable,
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("block", BLOCKS, ids=["sagan", *FORMS])
def test_mixed_precision(block, policy):
    full = make(copy_of(block), scale=0.3)
    half = make(block.from_config({**block.get_config(), "dtype": policy}), scale=0.3)
    (y, weights), (expected, full_weights) = (
        layer(data(), return_attention_scores=True) for layer in (half, full)
    )
    for result in (y, weights):
        assert keras.backend.standardize_dtype(result.dtype) == half.compute_dtype
    np.testing.assert_allclose(array(weights), array(full_weights), atol=0.03)
    np.testing.assert_allclose(array(y), array(expected), atol=0.08)


@pytest.mark.parametrize(
    "block", [SelfAttention2D(reduction=2), NonLocal2D(), NonLocal2D("gaussian", pool_size=2)]
)
def test_channels_first_equals_channels_last(block):
    x = data()
    last = make(copy_of(block))
    expected, expected_weights = last(x, return_attention_scores=True)
    keras.config.set_image_data_format("channels_first")
    try:
        config = {**block.get_config(), "data_format": None}
        first = make(block.from_config(config), (B, C, H, W))
    finally:
        keras.config.set_image_data_format("channels_last")
    y, weights = first(np.moveaxis(x, 3, 1), return_attention_scores=True)
    np.testing.assert_allclose(array(y), np.moveaxis(array(expected), 3, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(weights), array(expected_weights), rtol=1e-5, atol=1e-6)
    assert block.from_config(first.get_config()).data_format == "channels_first"


def test_products_beyond_the_range_of_float16():
    """The product of a cell with itself is about 160,000; the maximum of float16 is 65,504."""
    layer = NonLocal2D("gaussian", dtype="mixed_float16")
    z, weights = layer(data((1, 2, 2, 64), scale=50.0), return_attention_scores=True)
    assert np.isfinite(array(z)).all()
    np.testing.assert_array_equal(array(weights)[0], np.eye(4))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SelfAttention2D(reduction=0), "`reduction` must be positive. Received: red.*=0"),
        (lambda: SelfAttention2D(pool_size=0), "`pool_size` must be positive. Received: pool.*=0"),
        (lambda: NonLocal2D("cosine"), "`form` must be one of .*'gaussian'.* form='cosine'"),
        (
            lambda: SelfAttention2D()(data((B, H, W, 4))),
            r"`reduction` must .* Received: reduction=8, x.shape=\(2, 5, 6, 4\)",
        ),
        (
            lambda: NonLocal2D()(data((B, H, C))),
            r"`x` must be a feature map .* Received: x.shape=\(2, 5, 8\)",
        ),
    ],
)
def test_invalid_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
