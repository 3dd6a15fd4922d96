import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.layers.linear import Linear


def value(x):
    return ops.convert_to_numpy(x)


def peers(activation=None, use_bias=True):
    """Ours, and `keras.layers.Dense` with the same weights."""
    options = {"activation": activation, "use_bias": use_bias, "bias_initializer": "normal"}
    ours, theirs = Linear(5, 4, **options), keras.layers.Dense(5, **options)
    theirs.build((None, None, 4))
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def some(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("activation", [None, "tanh"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 4), (0, 3, 4), (2, 0, 4)])
def test_it_says_what_dense_says(shape, use_bias, activation):
    x = some(*shape)
    ours, theirs = peers(activation, use_bias)
    assert tuple(ours(x).shape) == ours.compute_output_shape(shape) == (*shape[:2], 5)
    np.testing.assert_allclose(value(ours(x)), value(theirs(x)), rtol=1e-5, atol=1e-6)


def test_it_learns_what_dense_learns():
    x, y = some(6, 3, 4), some(6, 3, 5)
    weights = []
    for layer in peers("tanh"):
        source = keras.Input((None, 4))
        model = keras.Model(source, layer(source))
        model.compile(keras.optimizers.SGD(0.5), "mse")
        model.fit(x, y, batch_size=2, shuffle=False, verbose=0)
        weights.append(layer.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_lora_and_int8_are_those_of_dense():
    x = some(2, 3, 4)
    ours, theirs = peers()
    kernel = value(ours.kernel)
    ours.enable_lora(2)
    ours.lora_kernel_b.assign(some(2, 5))
    np.testing.assert_allclose(
        value(ours(x)) - value(theirs(x)),
        x @ (value(ours.lora_kernel_a) @ value(ours.lora_kernel_b)),
        rtol=1e-4,
        atol=1e-5,
    )
    ours, theirs = peers()
    for layer in (ours, theirs):
        layer.quantize("int8")
    np.testing.assert_allclose(value(ours(x)), value(theirs(x)), rtol=1e-5, atol=1e-6)
    assert kernel.shape == (4, 5) and ours.kernel.dtype == "int8"


def test_config():
    ours = Linear(5, 4, activation="tanh", name="gate")
    again = Linear.from_config(ours.get_config())
    assert (again.units, again.name, again.activation) == (5, "gate", keras.activations.tanh)
