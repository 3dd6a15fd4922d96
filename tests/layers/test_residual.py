import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import Residual

B, T, D = 2, 3, 4


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def made(**options):
    residual = Residual(**options)
    residual.build((None, None, D))
    rng = np.random.default_rng(1)
    residual.set_weights([rng.normal(size=w.shape) for w in residual.get_weights()])
    return residual


def normed(norm, x, kind):
    """Ba et al. 2016, equation 4; Zhang and Sennrich 2019, equation 4."""
    weights = [array(weight).astype("float64") for weight in norm.weights]
    if kind == "rms":
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weights[0]
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weights[0] + weights[1]


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("norm", ["post", "pre", "sandwich"])
def test_it_is_the_equations(norm, kind):
    residual, x = made(norm=norm, norm_kind=kind), data(B, T, D)
    kernel = data(D, D, seed=2)
    got, aside = residual.around(x, lambda x: (ops.tanh(ops.matmul(x, kernel)), "aside"))
    x = x.astype("float64")
    expected = {
        "post": lambda: normed(residual.norm_layer, x + np.tanh(x @ kernel), kind),
        "pre": lambda: x + np.tanh(normed(residual.norm_layer, x, kind) @ kernel),
        "sandwich": lambda: x + normed(
            residual.second_norm, np.tanh(normed(residual.norm_layer, x, kind) @ kernel), kind
        ),
    }[norm]()  # fmt: skip
    np.testing.assert_allclose(array(got), expected, rtol=1e-4, atol=1e-5)
    assert aside == "aside"


@pytest.mark.parametrize("norm", ["pre", "sandwich"])
def test_stochastic_depth_leaves_out_rows_and_scales_the_others(norm):
    """Huang et al. 2016, with the scaling by 1 / (1 - p) in training and nothing in use."""
    residual = made(norm=norm, stochastic_depth=0.75)
    x, given = data(64, T, D), data(64, T, D, seed=1)
    added = array(residual.around(x, lambda x: (given, None))[0]) - x
    training = array(residual.around(x, lambda x: (given, None), training=True)[0]) - x
    left_out = (training == 0).all((1, 2))
    assert 32 < left_out.sum() < 64
    np.testing.assert_allclose(training[~left_out], 4 * added[~left_out], rtol=1e-3, atol=1e-4)


def test_stochastic_depth_with_the_norm_behind_it():
    residual = made(norm="post", stochastic_depth=0.5)
    x, given = data(64, T, D), data(64, T, D, seed=1)
    got = array(residual.around(x, lambda x: (given, None), training=True)[0])
    without, scaled = (array(residual.norm_layer(x + rate * given)) for rate in (0, 2))
    left_out = np.isclose(got, without, atol=1e-4).all((1, 2))
    assert 16 < left_out.sum() < 48
    np.testing.assert_allclose(got[~left_out], scaled[~left_out], rtol=1e-4, atol=1e-4)


def test_dropout_is_on_what_the_sublayer_gives():
    residual, x, given = made(dropout=0.5), data(B, T, D), data(B, T, D, seed=1)
    added = array(residual.around(x, lambda x: (given, None), training=True)[0]) - x
    dropped = added == 0
    assert 0 < dropped.sum() < dropped.size
    np.testing.assert_allclose(added[~dropped], 2 * given[~dropped], rtol=1e-3, atol=1e-5)
    quiet = array(residual.around(x, lambda x: (given, None))[0])
    np.testing.assert_allclose(quiet, x + given, rtol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm": "both"}, "norm: expected one of .* Received: norm='both'"),
        ({"norm_kind": "batch"}, "norm_kind: expected one of .* Received: norm_kind='batch'"),
    ],
)
def test_unknown_names_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Residual(**options)
