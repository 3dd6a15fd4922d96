"""Residual connection against float64 NumPy written from the equations."""

import numpy as np
import pytest

from helpers import array, normal
from keras_attention.layers import Residual

B, T, D = 2, 3, 4


def built(**options):
    """Returns a residual connection with random weights of normal size."""
    residual = Residual(**options)
    residual.build((None, None, D))
    rng = np.random.default_rng(1)
    residual.set_weights([rng.normal(size=w.shape) for w in residual.get_weights()])
    return residual


def normalize(norm, x, kind):
    """Ba et al. 2016, equation 4; Zhang and Sennrich 2019, equation 4."""
    weights = [array(weight).astype("float64") for weight in norm.weights]
    if kind == "rms":
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weights[0]
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weights[0] + weights[1]


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("norm", ["post", "pre", "sandwich"])
def test_output_follows_the_equations(norm, kind):
    residual, x, kernel = built(norm=norm, norm_kind=kind), normal(B, T, D), normal(D, D, seed=2)
    output = residual.after(x, np.tanh(array(residual.before(x)) @ kernel))
    x = x.astype("float64")
    expected = {
        "post": lambda: normalize(residual.norm_layer, x + np.tanh(x @ kernel), kind),
        "pre": lambda: x + np.tanh(normalize(residual.norm_layer, x, kind) @ kernel),
        "sandwich": lambda: x + normalize(
            residual.second_norm, np.tanh(normalize(residual.norm_layer, x, kind) @ kernel), kind
        ),
    }[norm]()  # fmt: skip
    np.testing.assert_allclose(array(output), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["pre", "sandwich"])
def test_stochastic_depth_skips_samples_and_scales_the_others(norm):
    """Huang et al. 2016, with the scaling by 1 / (1 - p) in training, none at inference."""
    residual = built(norm=norm, stochastic_depth=0.75)
    x, y = normal(64, T, D), normal(64, T, D, seed=1)
    inference = array(residual.after(x, y)) - x
    training = array(residual.after(x, y, training=True)) - x
    skipped = (training == 0).all((1, 2))
    assert 32 < skipped.sum() < 64
    np.testing.assert_allclose(training[~skipped], 4 * inference[~skipped], rtol=1e-3, atol=1e-4)


def test_stochastic_depth_of_post_ln():
    residual = built(norm="post", stochastic_depth=0.5)
    x, y = normal(64, T, D), normal(64, T, D, seed=1)
    output = array(residual.after(x, y, training=True))
    without, scaled = (array(residual.norm_layer(x + rate * y)) for rate in (0, 2))
    skipped = np.isclose(output, without, atol=1e-4).all((1, 2))
    assert 16 < skipped.sum() < 48
    np.testing.assert_allclose(output[~skipped], scaled[~skipped], rtol=1e-4, atol=1e-4)


def test_dropout_is_applied_to_the_output_of_the_sublayer():
    residual, x, y = built(dropout=0.5), normal(B, T, D), normal(B, T, D, seed=1)
    added = array(residual.after(x, y, training=True)) - x
    dropped = added == 0
    assert 0 < dropped.sum() < dropped.size
    np.testing.assert_allclose(added[~dropped], 2 * y[~dropped], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(array(residual.after(x, y)), x + y, rtol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm": "both"}, "`norm` must be one of .* Received: norm='both'"),
        ({"norm_kind": "batch"}, "`norm_kind` must be one of .* Received: norm_kind='batch'"),
    ],
)
def test_unknown_names_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Residual(**options)
