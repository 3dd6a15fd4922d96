"""Pooling against the equations in float64, and the heads of classifiers and taggers."""

import keras
import numpy as np
import pytest

from helpers import array, assert_outputs_as_declared
from keras_attention.layers import ClassifierHead, Pooling, TaggerHead

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], "bool")


def make_layer(layer, seed=0):
    layer.build((None, None, 4))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def expected_pooling(pooling, row):
    """Pools one row without padding, in float64."""
    h = row.astype("float64")
    if pooling.kind == "mean":
        return h.mean(0)
    if pooling.kind == "first":
        return h[0]
    kernel, bias, v = (
        array(weight).astype("float64") for weight in (*pooling.dense.weights, pooling.v)
    )
    u = np.tanh(h @ kernel + bias)  # Yang et al. 2016, equation 5
    exponentials = np.exp(u @ v)
    return (exponentials / exponentials.sum()) @ h  # equations 6 and 7


@pytest.mark.parametrize("kind", ["mean", "first", "attention"])
def test_pooled_vectors(kind):
    pooling = make_layer(Pooling(kind))
    expected = [expected_pooling(pooling, X[row][MASK[row]]) for row in range(2)] + [np.zeros(4)]
    np.testing.assert_allclose(array(pooling(X, mask=MASK)), expected, rtol=1e-5, atol=1e-6)
    unmasked = [expected_pooling(pooling, row) for row in X]
    np.testing.assert_allclose(array(pooling(X)), unmasked, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "first", "attention"])
def test_weights_sum_to_1_over_unmasked_items(kind):
    weights = array(make_layer(Pooling(kind)).compute_weights(X, MASK))
    np.testing.assert_allclose(weights.sum(-1), [1, 1, 0], rtol=1e-6)
    assert not weights[~MASK].any()


def test_values_at_padding_do_not_count():
    changed = np.where(MASK[..., None], X, 1e6).astype("float32")
    for kind in ("mean", "first", "attention"):
        pooling = make_layer(Pooling(kind))
        np.testing.assert_allclose(
            array(pooling(changed, mask=MASK)), array(pooling(X, mask=MASK)), rtol=1e-5, atol=1e-6
        )


def test_classifier_head_is_pooling_and_a_dense_layer():
    head = make_layer(ClassifierHead(3, "attention"))
    kernel, bias = (array(weight) for weight in head.dense.weights)
    expected = array(head.pooling(X, mask=MASK)) @ kernel + bias
    np.testing.assert_allclose(array(head(X, mask=MASK)), expected, rtol=1e-5)


def test_tagger_head_is_a_dense_layer():
    head = make_layer(TaggerHead(3))
    kernel, bias = (array(weight) for weight in head.dense.weights)
    np.testing.assert_allclose(array(head(X, mask=MASK)), X @ kernel + bias, rtol=1e-5)


@pytest.mark.parametrize("head", [ClassifierHead(3, "attention", 0.5), TaggerHead(3, 0.5)])
def test_dropout_and_config(head):
    restored = type(head).from_config(head.get_config())
    assert restored.get_config() == head.get_config()
    head = make_layer(head)
    assert (array(head(X, mask=MASK, training=True)) != array(head(X, mask=MASK))).any()
    assert_outputs_as_declared(head, head(X, mask=MASK), X)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Pooling("max"), "`kind` must be one of .* Received: kind='max'"),
        (lambda: ClassifierHead(3, "max"), "`pooling` must be one of .* Received: pooling='max'"),
        (lambda: ClassifierHead(0), "`num_classes` must be positive. Received: num_classes=0"),
        (lambda: TaggerHead(-1), "`num_classes` must be positive. Received: num_classes=-1"),
    ],
)
def test_invalid_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_mixed_precision():
    pooling = make_layer(Pooling("mean", dtype="mixed_bfloat16"))
    pooled = pooling(X, mask=MASK)
    assert keras.backend.standardize_dtype(pooled.dtype) == "bfloat16"
