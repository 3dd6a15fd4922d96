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


def made(layer, x_shape=(B, H, W, C), scale=0.5):
    """Random weights: those that begin at zero hide the rest."""
    if not layer.built:
        layer.build(x_shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(scale=scale, size=w.shape) for w in layer.get_weights()])
    return layer


def weights_of(layer):
    """Kernels as float64 matrices (inputs, outputs), by name."""
    arrays = {w.path.split("/", 1)[-1]: array(w).astype("float64") for w in layer.weights}
    return {
        name.removesuffix("/kernel"): w[0, 0] if w.ndim == 4 else w for name, w in arrays.items()
    }


def max_pool(x, size):
    """The maximum over squares, centered on the map where they do not fit it."""
    for axis in (1, 2):
        missing = -x.shape[axis] % size
        pads = [(0, 0)] * 4
        pads[axis] = missing // 2, missing - missing // 2
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
def test_sagan_is_the_equations(pool):
    layer, x = made(SelfAttention2D(reduction=2, pool_size=pool)), data()
    y, scores = layer(x, return_attention_scores=True)
    expected, beta = sagan(x.astype("float64"), weights_of(layer), pool)
    np.testing.assert_allclose(array(scores), beta, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(y), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(array(layer(x)), array(y))


@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("form", FORMS)
def test_non_local_is_the_equations(form, pool):
    layer, x = made(NonLocal2D(form, pool_size=pool)), data()
    z, scores = layer(x, return_attention_scores=True)
    expected, weights = non_local(x.astype("float64"), weights_of(layer), form, pool)
    np.testing.assert_allclose(array(scores), weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(z), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(array(layer(x)), array(z))


BLOCKS = [SelfAttention2D(), *(NonLocal2D(form) for form in FORMS)]


def fresh(block):
    return block.from_config({**block.get_config(), "name": None})


@pytest.mark.parametrize("block", BLOCKS, ids=["sagan", *FORMS])
def test_it_begins_as_the_identity_and_learns_from_there(block):
    layer, x = fresh(block), data()
    np.testing.assert_array_equal(array(layer(x)), x)
    first = layer.gamma if isinstance(layer, SelfAttention2D) else layer.output_conv.kernel
    assert not array(first).any()
    model = keras.Sequential([keras.Input((H, W, C)), layer])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.train_on_batch(x, data(scale=2.0))
    assert array(first).any()
    assert np.abs(array(layer(x)) - x).max() > 1e-6


@pytest.mark.parametrize("block", BLOCKS, ids=["sagan", *FORMS])
def test_a_saved_model_is_the_same(block, tmp_path):
    """Rows and columns are free."""
    inputs = keras.Input((None, None, C))
    model = keras.Model(inputs, fresh(block)(inputs))
    made(model.layers[-1], (None, None, None, C))
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
def test_mixed_precision_is_near(block, policy):
    full = made(fresh(block), scale=0.3)
    half = made(block.from_config({**block.get_config(), "dtype": policy}), scale=0.3)
    (y, scores), (expected, full_scores) = (
        layer(data(), return_attention_scores=True) for layer in (half, full)
    )
    for got in (y, scores):
        assert keras.backend.standardize_dtype(got.dtype) == half.compute_dtype
    np.testing.assert_allclose(array(scores), array(full_scores), atol=0.03)
    np.testing.assert_allclose(array(y), array(expected), atol=0.08)


def test_float16_holds_products_beyond_its_range():
    """Every cell's largest product, with itself, is about 160,000; float16 ends at 65,504."""
    layer = NonLocal2D("gaussian", dtype="mixed_float16")
    z, scores = layer(data((1, 2, 2, 64), scale=50.0), return_attention_scores=True)
    assert np.isfinite(array(z)).all()
    np.testing.assert_array_equal(array(scores)[0], np.eye(4))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SelfAttention2D(reduction=0), "`reduction` must be positive. Received: red.*=0"),
        (lambda: SelfAttention2D(pool_size=0), "`pool_size` must be positive. Received: pool.*=0"),
        (lambda: NonLocal2D("cosine"), "form: expected one of .*'gaussian'.* form='cosine'"),
        (
            lambda: SelfAttention2D()(data((B, H, W, 4))),
            r"reduction: .* Received: reduction=8, x.shape=\(2, 5, 6, 4\)",
        ),
        (
            lambda: NonLocal2D()(data((B, H, C))),
            r"x: expected a feature map .* Received: x.shape=\(2, 5, 8\)",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
