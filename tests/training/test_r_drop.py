"""`RDrop` compared with equations 2 and 3 in float64, and training with it."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.training import MaskedCrossEntropy, RDrop


def batch(rows=3, time=5, vocabulary=7):
    """Padded labels (2 * rows, time), every row twice, and logits of two passes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, vocabulary, (rows, time))
    labels = np.where(np.arange(time) < rng.integers(1, time + 1, (rows, 1)), labels, 0)
    logits = rng.normal(0, 3, (2 * rows, time, vocabulary)).astype("float32")
    return np.concatenate([labels, labels]).astype("int32"), logits


def log_softmax(logits):
    shifted = logits.astype("float64") - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def reference(labels, logits, alpha, smoothing=0.0):
    """Computes the loss of each token from both divergences, summed over the vocabulary."""
    logs = log_softmax(logits)
    (p, log_p), (q, log_q) = [(np.exp(half), half) for half in np.split(logs, 2)]
    forward, backward = (p * (log_p - log_q)).sum(-1), (q * (log_q - log_p)).sum(-1)
    targets = (1 - smoothing) * np.eye(logits.shape[-1])[labels] + smoothing / logits.shape[-1]
    divergence = alpha / 2 * (forward + backward) / 2
    losses = -(targets * logs).sum(-1) + np.concatenate([divergence, divergence])
    return losses * (labels != 0)


@pytest.mark.parametrize("alpha, smoothing", [(5.0, 0.0), (0.5, 0.1)])
def test_loss_of_each_token(alpha, smoothing):
    labels, logits = batch()
    losses = RDrop(alpha, smoothing, reduction="none")(labels, logits)
    expected = reference(labels, logits, alpha, smoothing)
    np.testing.assert_allclose(array(losses), expected, rtol=1e-5, atol=1e-5)


def test_mean_is_half_of_equation_3():
    """Equation 3 sums both passes of every sentence, here over the tokens without padding."""
    labels, logits = batch()
    logs, tokens = log_softmax(logits), (labels[:3] != 0).sum()
    likelihood = -(np.eye(7)[labels] * logs).sum(-1) * (labels != 0)
    first, second = np.split(logs, 2)
    difference = (np.exp(first) - np.exp(second)) * (first - second)  # the sum of both divergences
    divergence = (difference.sum(-1) * (labels[:3] != 0)).sum() / 2
    paper = (likelihood.sum() + 5 * divergence) / tokens
    loss = RDrop(alpha=5)(labels, logits)
    np.testing.assert_allclose(array(loss), paper / 2, rtol=1e-6)


def test_equal_passes_give_the_cross_entropy():
    labels, logits = batch()
    logits[3:] = logits[:3]
    weight = np.linspace(0.5, 2, 6, dtype="float32")
    for options in ({}, {"sample_weight": weight}):
        got = RDrop(5.0, 0.1)(labels, logits, **options)
        expected = MaskedCrossEntropy(0.1)(labels, logits, **options)
        np.testing.assert_allclose(array(got), array(expected), rtol=1e-6)


@pytest.mark.slow
def test_training_reduces_the_divergence():
    """Two passes of a model with dropout, trained on one sentence, become similar.

    Label smoothing keeps the logits small; without it, both models are certain of every token.
    """
    keras.utils.set_random_seed(0)
    ids = np.tile(np.arange(1, 7, dtype="int32"), (8 * 60, 1))  # 60 batches
    divergences = {}
    for alpha in (0.0, 20.0):
        source = keras.Input((None,), dtype="int32")
        hidden = keras.layers.Dropout(0.5, seed=1)(keras.layers.Embedding(8, 16)(source))
        model = keras.Model(source, keras.layers.Dense(8)(hidden))
        model.compile(keras.optimizers.Adam(0.05), RDrop(alpha, 0.3))
        model.fit(ids, ids, batch_size=8, verbose=0)
        logits = np.concatenate([array(model(ids[:8], training=True)) for _ in range(2)])
        divergences[alpha] = (
            reference(ids[:16], logits, 1) - reference(ids[:16], logits, 0)
        ).mean()
    assert divergences[20.0] < 0.2 * divergences[0.0]


def test_config_and_half_precision():
    loss = RDrop(2.0, 0.1, reduction="sum", name="two")
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    assert restored.get_config() == loss.get_config()
    labels, logits = batch()
    half = ops.cast(logits, "float16")
    expected = reference(labels, array(half), 2.0, 0.1).sum()
    np.testing.assert_allclose(array(restored(labels, half)), expected, rtol=1e-5)


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match="Received: alpha=-1"):
        RDrop(-1)
    labels, logits = batch()
    with pytest.raises(ValueError, match=r"every sentence twice.*=\(5, 5, 7\)"):
        RDrop()(labels[:5], logits[:5])
