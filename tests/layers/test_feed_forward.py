"""Feed-forward network against float64 NumPy written from the equations."""

import math

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from helpers import array, normal
from keras_attention.layers import FeedForward

B, T, D, F = 2, 3, 4, 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


FUNCTIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": gelu,
    "silu": lambda x: x * sigmoid(x),
    # Shazeer 2020, equations 5 and 6
    "bilinear": lambda x: x,
    "glu": sigmoid,
    "reglu": lambda x: np.maximum(x, 0),
    "geglu": gelu,
    "swiglu": lambda x: x * sigmoid(x),
}
GATED = ("bilinear", "glu", "reglu", "geglu", "swiglu")


def built(**options):
    """Returns a layer with random weights of normal size."""
    layer = FeedForward(F, **options)
    layer.build((B, T, D))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_output_follows_the_equations(activation, use_bias):
    layer = built(activation=activation, use_bias=use_bias)
    x = normal(B, T, D).astype("float64")
    inner, outer = (array(dense.kernel).astype("float64") for dense in (layer.inner, layer.outer))
    biases = [array(dense.bias) for dense in (layer.inner, layer.outer)] if use_bias else [0, 0]
    assert len(layer.weights) == (4 if use_bias else 2)
    hidden = x @ inner + biases[0]
    if activation in GATED:
        hidden = FUNCTIONS[activation](hidden[..., :F]) * hidden[..., F:]
    else:
        hidden = FUNCTIONS[activation](hidden)
    expected = hidden @ outer + biases[1]
    np.testing.assert_allclose(array(layer(normal(B, T, D))), expected, rtol=1e-4, atol=1e-5)


def test_dropout_is_applied_to_the_hidden_layer():
    layer = built(activation="linear", use_bias=False, dropout=0.5)
    x = normal(B, T, D)
    layer.outer.kernel.assign(np.eye(F, D))
    hidden = (x @ array(layer.inner.kernel))[..., :D]
    np.testing.assert_allclose(array(layer(x)), hidden, rtol=1e-4)
    output = array(layer(x, training=True))
    dropped = output == 0
    assert 0 < dropped.sum() < dropped.size
    np.testing.assert_allclose(output[~dropped], 2 * hidden[~dropped], rtol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_keras_layer_requirements(activation):
    TestCase().run_layer_test(
        FeedForward,
        init_kwargs={
            "intermediate_dim": F,
            "activation": activation,
            "dropout": 0.1,
            "use_bias": False,
        },  # fmt: skip
        input_shape=(B, T, D),
        expected_output_shape=(B, T, D),
        expected_num_trainable_weights=2,
        supports_masking=True,
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"intermediate_dim": 0},
            "`intermediate_dim` must be positive. Received: intermediate_dim=0",
        ),
        (
            {"intermediate_dim": 4, "activation": "rulu"},
            "`activation` must be one of .*'swiglu'.* Received: activation='rulu'",
        ),
    ],
)
def test_invalid_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        FeedForward(**options)


def test_mask_is_propagated():
    x = normal(B, T, D)
    x[0, 2] = 0
    output = FeedForward(F)(keras.layers.Masking()(x))
    np.testing.assert_array_equal(array(output._keras_mask), [[True, True, False], [True] * 3])
