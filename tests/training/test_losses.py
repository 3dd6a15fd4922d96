import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.training.losses import MaskedCrossEntropy
from keras_attention.training.metrics import Perplexity, TokenAccuracy


def batch(seed=0, size=3, time=5, vocabulary=7):
    """Labels with padding at the end of rows, and logits."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, vocabulary, (size, time))
    lengths = rng.integers(1, time + 1, (size, 1))
    labels = np.where(np.arange(time) < lengths, labels, 0)
    return labels.astype("int32"), rng.normal(0, 3, (size, time, vocabulary)).astype("float32")


def reference(labels, logits, smoothing=0.0):
    """Token losses in float64 from smoothed one-hot targets, 0 at padding."""
    logits = logits.astype("float64")
    shifted = logits - logits.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    vocabulary = logits.shape[-1]
    targets = (1 - smoothing) * np.eye(vocabulary)[labels] + smoothing / vocabulary
    return -(targets * log_probs).sum(-1) * (labels != 0)


def tiny_model(dtype=None):
    """Ids (B, T) -> logits (B, T, 8)."""
    source = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(8, 16, dtype=dtype)(source)
    return keras.Model(source, keras.layers.Dense(8, dtype=dtype)(hidden))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_mean_over_tokens(smoothing):
    labels, logits = batch()
    loss = MaskedCrossEntropy(label_smoothing=smoothing)(labels, logits)
    expected = reference(labels, logits, smoothing).sum() / (labels != 0).sum()
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-6)


def test_loss_equals_that_of_keras_without_padding():
    labels, logits = batch()
    labels = np.maximum(labels, 1)
    keras_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours = MaskedCrossEntropy()(labels, logits)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours),
        ops.convert_to_numpy(keras_loss(labels, logits)),
        rtol=1e-6,
    )


def test_reductions():
    labels, logits = batch()
    expected = reference(labels, logits, 0.1)
    each = MaskedCrossEntropy(0.1, reduction="none")(labels, logits)
    total = MaskedCrossEntropy(0.1, reduction="sum")(labels, logits)
    np.testing.assert_allclose(ops.convert_to_numpy(each), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(total), expected.sum(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 5)])
def test_sample_weight_gives_a_weighted_mean(shape):
    labels, logits = batch()
    weight = np.random.default_rng(1).uniform(0, 2, shape)
    loss = MaskedCrossEntropy()(labels, logits, sample_weight=weight)
    each = weight.reshape(3, -1) * np.ones((3, 5)) * (labels != 0)
    expected = (reference(labels, logits) * each).sum() / each.sum()
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-6)


def test_loss_does_not_depend_on_padding():
    labels, logits = batch()
    longer = np.pad(labels, ((0, 1), (0, 4)))
    noise = np.random.default_rng(2).normal(0, 50, (4, 9, 7)).astype("float32")
    noise[:3, :5] = logits
    loss = MaskedCrossEntropy(label_smoothing=0.1)
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss(longer, noise)),
        ops.convert_to_numpy(loss(labels, logits)),
        rtol=1e-6,
    )


def test_loss_of_padding_only_is_zero():
    loss = MaskedCrossEntropy(label_smoothing=0.1)
    assert float(loss(np.zeros((2, 3), "int32"), np.ones((2, 3, 4)))) == 0.0


def test_loss_of_an_empty_batch_is_zero():
    loss = MaskedCrossEntropy()
    assert float(loss(np.zeros((0, 3), "int32"), np.ones((0, 3, 4)))) == 0.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_summed_in_float32(dtype):
    labels, logits = batch(size=64, time=30)
    logits = ops.cast(logits, dtype)
    loss = MaskedCrossEntropy(label_smoothing=0.1)(labels, logits)
    float32_logits = ops.convert_to_numpy(ops.cast(logits, "float32"))
    expected = reference(labels, float32_logits, 0.1).sum() / (labels != 0).sum()
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_half_precision_logits_stay_finite(dtype):
    labels = np.array([[1, 2, 0]], "int32")
    logits = np.array([[[-6e4, 6e4, 6e4], [6e4, 6e4, -6e4], [6e4, -6e4, 6e4]]])
    logits = ops.cast(logits, dtype)
    each = MaskedCrossEntropy(reduction="none")(labels, logits)
    top = float(ops.cast(logits, "float32")[0, 0, 1])
    expected = [[np.log(2), 2 * top + np.log(2), 0]]
    np.testing.assert_allclose(ops.convert_to_numpy(each), expected, rtol=1e-6, atol=5e-3)
    assert np.isfinite(float(MaskedCrossEntropy(label_smoothing=0.1)(labels, logits)))


def test_infinite_logit_of_another_token_without_smoothing():
    logits = np.array([[[-np.inf, 1.0, 1.0]]], "float32")
    loss = MaskedCrossEntropy()(np.array([[1]]), logits)
    np.testing.assert_allclose(ops.convert_to_numpy(loss), np.log(2), rtol=1e-6)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_fit_learns_under_every_policy(policy, smoothing):
    keras.utils.set_random_seed(0)
    model = tiny_model(policy)
    loss = MaskedCrossEntropy(label_smoothing=smoothing)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=[TokenAccuracy(), Perplexity()])
    ids = np.random.default_rng(0).integers(1, 8, (32, 6))
    ids[:, 4:] = 0
    labels = np.where(ids > 0, ids % 7 + 1, 0)  # the label of each id is the next id
    history = model.fit(ids, labels, batch_size=8, epochs=12, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["token_accuracy"][-1] == 1.0
    assert history["perplexity"][-1] < 2.0 < history["perplexity"][0]


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="jit_compile is torch.compile, not XLA"
)
def test_loss_is_the_same_under_xla():
    labels = batch(size=4, vocabulary=8)[0]
    labels[3] = 0
    model = tiny_model()
    results = []
    for jit_compile in (False, True):
        model.compile(
            "sgd",
            MaskedCrossEntropy(0.1),
            metrics=[TokenAccuracy(), Perplexity()],
            jit_compile=jit_compile,
        )
        results.append(model.evaluate(labels, labels, batch_size=2, verbose=0))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)


def test_fit_and_evaluate_report_the_mean_over_tokens():
    keras.utils.set_random_seed(0)
    model = tiny_model()
    labels = batch(size=4, vocabulary=8)[0]
    weight = np.random.default_rng(1).uniform(0, 2, (4, 5))
    expected = reference(labels, model.predict(labels, verbose=0))
    model.compile("sgd", MaskedCrossEntropy(), metrics=[TokenAccuracy(), Perplexity()])
    result = model.evaluate(labels, labels, verbose=0, return_dict=True)
    mean = expected.sum() / (labels != 0).sum()
    np.testing.assert_allclose(result["loss"], mean, rtol=1e-5)
    np.testing.assert_allclose(result["perplexity"], np.exp(mean), rtol=1e-5)
    weighted = model.evaluate(labels, labels, sample_weight=weight, verbose=0, return_dict=True)
    weight = weight * (labels != 0)
    np.testing.assert_allclose(
        weighted["loss"], (expected * weight).sum() / weight.sum(), rtol=1e-5
    )


def test_fit_with_a_mask_on_the_predictions():
    keras.utils.set_random_seed(0)
    source = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(8, 4, mask_zero=True)(source)
    model = keras.Model(source, keras.layers.Dense(8)(hidden))
    model.compile("sgd", MaskedCrossEntropy())
    labels = batch(size=4, vocabulary=8)[0]
    expected = reference(labels, model.predict(labels, verbose=0)).sum() / (labels != 0).sum()
    np.testing.assert_allclose(model.evaluate(labels, labels, verbose=0), expected, rtol=1e-5)


def test_gradient_of_logits():
    """Softmax minus the smoothed target, divided by the number of tokens, 0 at padding."""
    labels, logits = batch(size=2, time=3)
    layer = keras.layers.Dense(7, use_bias=False)
    layer.build((None, 6))
    layer.kernel.assign(logits.reshape(6, 7))
    source = keras.Input((3, 6))
    model = keras.Model(source, layer(source))
    model.compile(keras.optimizers.SGD(1.0), MaskedCrossEntropy(label_smoothing=0.1))
    model.fit(np.eye(6).reshape(2, 3, 6), labels, epochs=1, verbose=0)
    step = logits - ops.convert_to_numpy(layer.kernel).reshape(2, 3, 7)
    exponentials = np.exp(logits.astype("float64"))
    softmax = exponentials / exponentials.sum(-1, keepdims=True)
    gradient = softmax - 0.9 * np.eye(7)[labels] - 0.1 / 7
    gradient *= (labels != 0)[..., None] / (labels != 0).sum()
    np.testing.assert_allclose(step, gradient, atol=2e-6)


@pytest.mark.parametrize("label", [7, -1, -100])
def test_labels_out_of_range_raise(label):
    labels, logits = batch()
    labels[0, 0] = label
    with pytest.raises(ValueError, match=r"in \[0, 7\).*Received: labels from"):
        MaskedCrossEntropy()(labels, logits)
    with pytest.raises(ValueError, match=r"in \[0, 7\).*Received: labels from"):
        MaskedCrossEntropy()(labels.tolist(), logits)
    assert np.isnan(float(MaskedCrossEntropy()(ops.convert_to_tensor(labels), logits)))


def test_label_out_of_range_makes_the_loss_nan_in_fit():
    model = tiny_model()
    model.compile("sgd", MaskedCrossEntropy())
    assert np.isnan(model.evaluate(np.ones((2, 3), "int32"), np.full((2, 3), 8), verbose=0))


def test_invalid_arguments_raise():
    labels, logits = batch()
    with pytest.raises(ValueError, match="Received: label_smoothing=1.0"):
        MaskedCrossEntropy(label_smoothing=1.0)
    with pytest.raises(ValueError, match="Received: reduction='sum_over_batch_size'"):
        MaskedCrossEntropy(reduction="sum_over_batch_size")
    with pytest.raises(ValueError, match=r"Received: labels.shape=\(3, 4\)"):
        MaskedCrossEntropy()(labels[:, :4], logits)
    with pytest.raises(ValueError, match=r"Received: labels.shape=\(3, 5, 7\)"):
        MaskedCrossEntropy()(logits, logits)
    with pytest.raises(ValueError, match=r"Received: .*sample_weight.shape=\(3, 5, 1\)"):
        MaskedCrossEntropy()(labels, logits, sample_weight=np.ones((3, 5, 1)))


def test_loss_config_round_trip():
    made = MaskedCrossEntropy(label_smoothing=0.2, reduction="sum", name="xe")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert again.get_config() == {"name": "xe", "reduction": "sum", "label_smoothing": 0.2}
    labels, logits = batch()
    assert float(again(labels, logits)) == float(made(labels, logits))


def test_saved_model_has_its_loss_and_metrics(tmp_path):
    model = tiny_model()
    model.compile("sgd", MaskedCrossEntropy(0.1), metrics=[TokenAccuracy()])
    labels = batch(size=4, vocabulary=8)[0]
    expected = model.evaluate(labels, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.evaluate(labels, labels, verbose=0), expected, rtol=1e-6)
