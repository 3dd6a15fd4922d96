"""The cross-entropy in blocks compared with NumPy in float64: losses, and gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, gradients, normal
from keras_attention.ops.cross_entropy import projected_cross_entropy


def inputs(batch=3, time=7, width=5, vocabulary=11):
    rng = np.random.default_rng(0)
    labels = rng.integers(1, vocabulary, (batch, time))
    labels = np.where(np.arange(time) < rng.integers(1, time + 1, (batch, 1)), labels, 0)
    x, kernel = normal(batch, time, width), normal(width, vocabulary, seed=1)
    return labels.astype("int32"), x, kernel, normal(vocabulary, seed=2)


def reference(labels, x, kernel, bias, smoothing, weight):
    """Returns losses, and the gradients of `sum(weight * losses)`, from their definitions."""
    x, kernel = x.astype("float64"), kernel.astype("float64")
    logits = x @ kernel + (0 if bias is None else bias.astype("float64"))
    shifted = logits - logits.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    onehot = np.eye(kernel.shape[1])[labels]
    targets = (1 - smoothing) * onehot + smoothing / kernel.shape[1]
    mask = labels != 0
    d = (np.exp(log_probs) - targets) * (weight * mask)[..., None]  # d loss / d logits
    losses = [-(target * log_probs).sum(-1) * mask for target in (targets, onehot)]
    is_correct = (logits.argmax(-1) == labels) * mask
    return (*losses, is_correct), (d @ kernel.T, np.einsum("btd,btv->dv", x, d), d.sum((0, 1)))


def assert_close(actual, expected):
    """Compares up to 1e-5 of the largest value."""
    np.testing.assert_allclose(array(actual), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("block_size", [1, 4, 20, 21, 100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("with_bias", [True, False])
def test_losses_and_gradients(block_size, smoothing, with_bias):
    labels, x, kernel, bias = inputs()
    arrays = [x, kernel, bias] if with_bias else [x, kernel]
    weight = np.random.default_rng(3).uniform(0, 2, labels.shape).astype("float32")
    options = {"label_smoothing": smoothing, "block_size": block_size}
    expected, expected_gradients = reference(
        labels, x, kernel, bias if with_bias else None, smoothing, weight
    )
    results = projected_cross_entropy(labels, *map(ops.convert_to_tensor, arrays), **options)
    for actual, each in zip(results, expected, strict=True):
        assert_close(actual, each)

    def weighted_sum(*arrays):
        losses = projected_cross_entropy(labels, *arrays, **options).loss
        return ops.sum(losses * ops.convert_to_tensor(weight))

    for actual, each in zip(gradients(weighted_sum, arrays), expected_gradients, strict=False):
        assert_close(actual, each)


def test_an_empty_batch():
    losses = projected_cross_entropy(
        np.zeros((0, 3), "int32"), np.zeros((0, 3, 2)), np.ones((2, 5))
    )
    assert tuple(losses.loss.shape) == (0, 3)


def test_labels_out_of_range_are_nan():
    labels = np.array([[5, -1, 4, 0]])
    losses = projected_cross_entropy(labels, normal(1, 4, 3), normal(3, 5))
    assert np.isnan(array(losses.loss)).tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(dtype):
    labels, x, kernel, _ = inputs(width=64, vocabulary=500)
    x, kernel = (ops.cast(each, dtype) for each in (x, kernel))
    x64, kernel64 = (array(ops.cast(each, "float32")) for each in (x, kernel))
    (expected, _, _), _ = reference(labels, x64, kernel64, None, 0.1, 1.0)
    actual = projected_cross_entropy(labels, x, kernel, None, 0.1, 4).loss
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    np.testing.assert_allclose(array(actual), expected, rtol=0.01, atol=0.05)
