"""Training with the output projection in blocks compared with training on all logits."""

import keras
import numpy as np
import pytest

from helpers import array
from keras_attention.models import causal_lm, seq2seq, transformer
from keras_attention.training import MaskedCrossEntropy, Perplexity, TokenAccuracy


def make(kind, **options):
    if kind == "causal_lm":
        return causal_lm(12, num_layers=1, hidden_dim=8, num_heads=2, dropout=0.0, **options)
    if kind == "seq2seq":
        return seq2seq(12, 13, units=8, embedding_dim=8, dropout=0.0, **options)
    options = {"num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2, **options}
    return transformer(13, 13, dropout=0.0, **options)


def batch(kind, rows=6, time=5):
    rng = np.random.default_rng(0)
    labels = rng.integers(4, 12, (rows, time))
    labels = np.where(np.arange(time) < rng.integers(1, time + 1, (rows, 1)), labels, 0)
    target = np.where(labels > 0, np.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=1), 0)
    if kind == "causal_lm":
        return target, labels
    return {"source": rng.integers(4, 12, (rows, 4)), "target": target}, labels


def fit(model, block_size, x, labels, **options):
    loss = MaskedCrossEntropy(0.1, block_size=block_size)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=[TokenAccuracy(), Perplexity()])
    history = model.fit(x, labels, batch_size=4, epochs=3, shuffle=False, verbose=0, **options)
    return {name: np.array(values) for name, values in history.history.items()}


@pytest.mark.slow_on_tensorflow
@pytest.mark.parametrize(
    "kind",
    [
        "causal_lm",
        pytest.param("seq2seq", marks=pytest.mark.slow),
        pytest.param("transformer", marks=pytest.mark.slow),
    ],
)
def test_fit_gives_the_weights_and_metrics_of_all_logits(kind):
    x, labels = batch(kind)
    model = make(kind)
    start = model.get_weights()
    weights = np.random.default_rng(1).uniform(0.5, 2, len(labels))
    data = {"sample_weight": weights, "validation_data": (x, labels)}
    expected = fit(model, None, x, labels, **data)
    expected_weights = model.get_weights()
    model.set_weights(start)
    actual = fit(model, 3, x, labels, **data)
    assert set(actual) == set(expected) and "val_perplexity" in actual
    for name, values in expected.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-5, err_msg=name)
    for ours, theirs in zip(model.get_weights(), expected_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert model(x, training=True).shape == model(x).shape  # logits outside of `fit`


@pytest.mark.slow
def test_save_and_load_keep_the_loss(tmp_path):
    x, labels = batch("causal_lm")
    model = make("causal_lm")
    fit(model, 3, x, labels)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.block_size == 3
    np.testing.assert_allclose(array(loaded(x)), array(model(x)), atol=1e-6)
    np.testing.assert_array_equal(loaded.generate(x[:, 1:]).ids, model.generate(x[:, 1:]).ids)
    first, second = (each.train_on_batch(x, labels) for each in (model, loaded))
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_other_metrics_and_invalid_sizes_raise():
    x, labels = batch("causal_lm")
    model = make("causal_lm")
    loss = MaskedCrossEntropy(block_size=3)
    model.compile("sgd", loss, metrics=[keras.metrics.SparseCategoricalAccuracy()])
    with pytest.raises(ValueError, match="must be `TokenAccuracy` or `Perplexity`.* Received: <Sp"):
        model.train_on_batch(x, labels)
    with pytest.raises(ValueError, match="`block_size` must be positive. Received: block_size=0"):
        MaskedCrossEntropy(block_size=0)
