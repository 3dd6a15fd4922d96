import keras
import numpy as np
import pytest

from keras_attention.training.metrics import Perplexity, TokenAccuracy


def test_token_accuracy_counts_every_token_once():
    metric = TokenAccuracy()
    metric.update_state(np.array([[1, 2, 0]]), np.eye(4)[[[1, 3, 0]]])  # 1 of 2
    metric.update_state(np.array([[1, 1, 1, 1, 1, 1]]), np.eye(4)[[[1] * 6]])  # 6 of 6
    np.testing.assert_allclose(float(metric.result()), 7 / 8, rtol=1e-6)
    metric.reset_state()
    metric.update_state(np.array([[1], [2]]), np.eye(4)[[[1], [3]]], sample_weight=[3.0, 1.0])
    np.testing.assert_allclose(float(metric.result()), 0.75, rtol=1e-6)


def test_perplexity_over_batches_of_different_length():
    metric, losses, rng = Perplexity(), [], np.random.default_rng(0)
    for length in (3, 9):
        labels = rng.integers(0, 7, (3, length))  # some are padding
        logits = rng.normal(0, 3, (3, length, 7))
        metric.update_state(labels, logits.astype("float32"))
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        losses.append(-np.take_along_axis(log_probs, labels[..., None], -1)[..., 0][labels != 0])
    expected = np.exp(np.concatenate(losses).mean())
    np.testing.assert_allclose(float(metric.result()), expected, rtol=1e-5)


@pytest.mark.parametrize("made", [TokenAccuracy(name="a"), Perplexity(name="b")])
def test_metric_config_round_trip(made):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert type(again) is type(made)
    assert again.get_config() == made.get_config()
