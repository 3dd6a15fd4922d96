import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.ops.attention import (
    context,
    gaussian_window,
    masked_softmax,
    predicted_centers,
)

ENERGIES = np.random.default_rng(0).normal(size=(2, 3, 4)) * 3
MASK = np.array([[[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], [[1, 1, 1, 1]] * 3], bool)


def softmax_of_kept(energies, mask):
    """Equation 6 of Bahdanau 2015 over the kept keys; zeros where there are none."""
    exponentials = np.exp(energies) * mask
    total = exponentials.sum(-1, keepdims=True)
    return np.divide(exponentials, total, out=np.zeros_like(energies), where=total > 0)


def gradient(function, x):
    """The gradient of a scalar function on whichever backend runs."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x).numpy()
    if backend == "jax":
        import jax

        return np.array(jax.grad(function)(ops.convert_to_tensor(x)))
    x = ops.convert_to_tensor(x).requires_grad_()
    function(x).backward()
    return x.grad.cpu().numpy()


def test_softmax_without_a_mask():
    weights = ops.convert_to_numpy(masked_softmax(ENERGIES.astype("float32")))
    np.testing.assert_allclose(weights, softmax_of_kept(ENERGIES, MASK | True), rtol=1e-5)


@pytest.mark.parametrize(
    "dtype, tolerance", [("float32", 1e-6), ("float16", 1e-3), ("bfloat16", 8e-3)]
)
def test_masked_softmax_in_every_dtype(dtype, tolerance):
    weights = masked_softmax(ops.cast(ENERGIES, dtype), MASK)
    assert keras.backend.standardize_dtype(weights.dtype) == dtype
    weights = ops.convert_to_numpy(ops.cast(weights, "float32"))
    np.testing.assert_allclose(weights, softmax_of_kept(ENERGIES, MASK), atol=tolerance)
    assert (weights[~np.broadcast_to(MASK, weights.shape)] == 0).all()


def test_a_mask_of_numbers_and_of_one_row_for_all_queries():
    weights = masked_softmax(ENERGIES.astype("float32"), np.array([[[1, 0, 1, 1]], [[0, 1, 1, 1]]]))
    expected = softmax_of_kept(ENERGIES, np.array([[[1, 0, 1, 1]], [[0, 1, 1, 1]]]))
    np.testing.assert_allclose(ops.convert_to_numpy(weights), expected, rtol=1e-5)


@pytest.mark.parametrize("hidden", [np.inf, -np.inf, np.nan, 1e30])
def test_what_is_masked_is_not_seen(hidden):
    energies = np.where(MASK, ENERGIES, hidden).astype("float32")
    weights = ops.convert_to_numpy(masked_softmax(energies, MASK))
    np.testing.assert_allclose(weights, softmax_of_kept(ENERGIES, MASK), rtol=1e-5)


def test_gradient_is_finite_and_zero_where_masked():
    target = np.arange(24, dtype="float32").reshape(2, 3, 4)
    g = gradient(
        lambda e: ops.sum(ops.multiply(masked_softmax(e, MASK), target)), ENERGIES.astype("float32")
    )
    weights = softmax_of_kept(ENERGIES, MASK)
    expected = weights * (target - (weights * target).sum(-1, keepdims=True))
    np.testing.assert_allclose(g, expected, rtol=1e-4, atol=1e-5)
    assert (g[~MASK] == 0).all()


def test_context_is_the_weighted_sum():
    rng = np.random.default_rng(1)
    weights, values = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
    result = context(weights.astype("float32"), values.astype("float32"))
    expected = [[sum(w[s] * v[s] for s in range(4)) for w in ws]
                for ws, v in zip(weights, values, strict=True)]  # fmt: skip
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, rtol=1e-5, atol=1e-6)


def test_predicted_centers():
    rng = np.random.default_rng(2)
    query, w_p, v_p = rng.normal(size=(2, 3, 4)), rng.normal(size=(5, 4)), rng.normal(size=5)
    lengths = np.array([9, 4])
    result = predicted_centers(
        *(ops.convert_to_tensor(x.astype("float32")) for x in (query, w_p.T, v_p)), lengths
    )
    expected = [[[size / (1 + np.exp(-v_p @ np.tanh(w_p @ h)))] for h in row]
                for row, size in zip(query, lengths, strict=True)]  # fmt: skip
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, rtol=1e-5)


def test_gaussian():
    centers, width = [1.3, 4.0], 3
    result = gaussian_window(
        ops.reshape(ops.arange(6), (1, 1, 6)), ops.array([[[1.3], [4.0]]]), width
    )
    sigma = width / 2
    expected = [[np.exp(-((s - p) ** 2) / (2 * sigma**2)) for s in range(6)] for p in centers]
    np.testing.assert_allclose(ops.convert_to_numpy(result)[0], expected, rtol=1e-5)
