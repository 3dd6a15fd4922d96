"""`Linear` against `keras.layers.Dense`."""

import keras
import numpy as np
import pytest

from helpers import array, normal
from keras_attention.layers.linear import Linear


def make_pair(activation=None, use_bias=True):
    """Returns a `Linear` and a `keras.layers.Dense` with the same weights."""
    options = {"activation": activation, "use_bias": use_bias, "bias_initializer": "normal"}
    ours, theirs = Linear(5, 4, **options), keras.layers.Dense(5, **options)
    theirs.build((None, None, 4))
    theirs.set_weights(ours.get_weights())
    return ours, theirs


@pytest.mark.parametrize("activation", [None, "tanh"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 4), (0, 3, 4), (2, 0, 4)])
def test_outputs_match_dense(shape, use_bias, activation):
    x = normal(*shape)
    ours, theirs = make_pair(activation, use_bias)
    assert tuple(ours(x).shape) == ours.compute_output_shape(shape) == (*shape[:2], 5)
    np.testing.assert_allclose(array(ours(x)), array(theirs(x)), rtol=1e-5, atol=1e-6)


def test_training_matches_dense():
    x, y = normal(6, 3, 4), normal(6, 3, 5)
    weights = []
    for layer in make_pair("tanh"):
        source = keras.Input((None, 4))
        model = keras.Model(source, layer(source))
        model.compile(keras.optimizers.SGD(0.5), "mse")
        model.fit(x, y, batch_size=2, shuffle=False, verbose=0)
        weights.append(layer.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_lora_and_int8_match_dense():
    x = normal(2, 3, 4)
    ours, theirs = make_pair()
    kernel = array(ours.kernel)
    ours.enable_lora(2)
    ours.lora_kernel_b.assign(normal(2, 5))
    np.testing.assert_allclose(
        array(ours(x)) - array(theirs(x)),
        x @ (array(ours.lora_kernel_a) @ array(ours.lora_kernel_b)),
        rtol=1e-4,
        atol=1e-5,
    )
    ours, theirs = make_pair()
    for layer in (ours, theirs):
        layer.quantize("int8")
    np.testing.assert_allclose(array(ours(x)), array(theirs(x)), rtol=1e-5, atol=1e-6)
    assert kernel.shape == (4, 5) and ours.kernel.dtype == "int8"


def test_config():
    ours = Linear(5, 4, activation="tanh", name="gate")
    restored = Linear.from_config(ours.get_config())
    assert (restored.units, restored.name, restored.activation) == (
        5,
        "gate",
        keras.activations.tanh,
    )
