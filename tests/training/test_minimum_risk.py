"""`MinimumRisk` compared with the paper's risk in float64, and training with it."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.training import MaskedCrossEntropy, MinimumRisk

K, SOURCES, TIME, VOCABULARY = 3, 2, 5, 7


def batch():
    """Labels (SOURCES * (K + 1), TIME), padded, their logits and costs."""
    rng = np.random.default_rng(0)
    rows = SOURCES * (K + 1)
    labels = rng.integers(1, VOCABULARY, (rows, TIME)).astype("int32")
    labels[np.arange(TIME) >= rng.integers(2, TIME + 1, (rows, 1))] = 0
    logits = rng.normal(0, 2, (rows, TIME, VOCABULARY)).astype("float32")
    return labels, logits, rng.uniform(0, 100, rows).astype("float32")


def reference(labels, logits, costs, weight, sharpness):
    """Computes the loss source by source and candidate by candidate."""
    logits = logits.astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    each = [
        [log_p[row, time, label] for time, label in enumerate(labels[row]) if label]
        for row in range(len(labels))
    ]
    risks, references = [], []
    for first in range(0, len(labels), K + 1):
        power = [np.exp(sum(each[first + k])) ** sharpness for k in range(K)]
        risks.append(sum(p / sum(power) * costs[first + k] for k, p in enumerate(power)))
        references += each[first + K]
    return -np.mean(references) + weight * np.mean(risks)


@pytest.mark.parametrize("sharpness", [0.0, 0.5, 1.0])
def test_loss_is_the_risk_plus_the_cross_entropy_of_the_references(sharpness):
    labels, logits, costs = batch()
    got = MinimumRisk(0.3, K, sharpness)(labels, logits, costs)
    np.testing.assert_allclose(
        array(got), reference(labels, logits, costs, 0.3, sharpness), rtol=1e-5
    )


def test_label_smoothing_applies_to_the_references_only():
    """With weight 0, the loss is the cross-entropy of every fourth row."""
    labels, logits, costs = batch()
    got = MinimumRisk(0.0, K, label_smoothing=0.2)(labels, logits, costs)
    expected = MaskedCrossEntropy(0.2)(labels[K :: K + 1], logits[K :: K + 1])
    np.testing.assert_allclose(array(got), array(expected), rtol=1e-6)
    smooth, plain = (
        MinimumRisk(1.0, K, label_smoothing=rate)(labels, logits, costs)
        - MinimumRisk(0.0, K, label_smoothing=rate)(labels, logits, costs)
        for rate in (0.2, 0.0)
    )
    np.testing.assert_allclose(array(smooth), array(plain), rtol=1e-5)


def test_missing_candidate_has_probability_0():
    labels, logits, costs = batch()
    labels[1] = 0
    probs = array(MinimumRisk(1.0, K).candidate_probs(labels, logits))
    assert probs.shape == (SOURCES, K) and probs[0, 1] == 0
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-6)


def test_training_prefers_the_candidate_of_lowest_cost():
    """Of three candidates of equal probability, that of cost 0 becomes the most probable."""
    keras.utils.set_random_seed(0)
    source = keras.Input((None,), dtype="int32")
    model = keras.Model(
        source, keras.layers.Embedding(8, 8, embeddings_initializer="zeros")(source)
    )
    loss = MinimumRisk(1.0, K)
    labels = np.array([[4, 2], [5, 2], [6, 2], [7, 2]], "int32")
    costs = np.array([3.0, 0.0, 3.0, 0.0], "float32")
    inputs = np.ones((4, 2), "int32")
    model.compile(keras.optimizers.SGD(1.0), loss)
    np.testing.assert_allclose(array(loss.candidate_probs(labels, model(inputs))), 1 / 3)
    model.fit(
        inputs, labels, batch_size=4, sample_weight=costs, epochs=20, verbose=0, shuffle=False
    )
    after = array(loss.candidate_probs(labels, model(inputs)))[0]
    assert after[1] > 0.6 and after[0] == pytest.approx(after[2])


def test_config_and_half_precision():
    loss = MinimumRisk(0.3, K, 1.0, 0.1, name="risk")
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    assert restored.get_config() == loss.get_config()
    labels, logits, costs = batch()
    half = ops.cast(logits, "float16")
    expected = reference(labels, array(half), costs, 0.3, 1.0)
    got = MinimumRisk(0.3, K, 1.0)(labels, half, costs)
    np.testing.assert_allclose(array(got), expected, rtol=1e-5)


def test_invalid_arguments_raise():
    for wrong in ({"weight": -1}, {"sharpness": -1}, {"candidates": 0}):
        (name, value), *_ = wrong.items()
        with pytest.raises(ValueError, match=f"Received: .*{name}={value}"):
            MinimumRisk(**wrong)
    labels, logits, costs = batch()
    with pytest.raises(
        ValueError, match="groups of 3 candidates and a reference. Received: 7 rows"
    ):
        MinimumRisk(1.0, K)(labels[:7], logits[:7], costs[:7])
    with pytest.raises(ValueError, match="cost of each row. Received: sample_weight=None"):
        MinimumRisk(1.0, K)(labels, logits)
