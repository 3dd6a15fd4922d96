import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.decoders import HardAttentionDecoder, RNNDecoder
from keras_attention.decoders.hard_attention import next_ids, reinforce_loss, sequence_log_prob
from keras_attention.layers import (
    BahdanauAttention,
    BahdanauDecoderCell,
    HardAttentionCell,
    TokenEmbedding,
)

B, S, V = 3, 4, 9
TARGET = np.array([[1, 5, 6, 7], [1, 8, 0, 0], [1, 4, 4, 0]])


def encoded():
    return {"sequence": normal(B, S, 5), "state": normal(B, 5, seed=1)}


def make(**options):
    cell = HardAttentionCell(keras.layers.GRUCell(6), BahdanauAttention(6))
    decoder = HardAttentionDecoder(TokenEmbedding(V, 8, output="separate"), cell, **options)
    decoder.build(TARGET.shape, {"sequence": (B, S, 5), "state": (B, 5)})
    return decoder


def test_reinforce_loss_is_equation_12():
    rng = np.random.default_rng(0)
    advantage = rng.normal(size=B)
    weights = rng.dirichlet(np.ones(S), (B, 4))
    locations = rng.integers(0, S, (B, 4))
    mask = (TARGET > 0) * 1.0
    expected = 0.0
    for b in range(B):
        for t in range(4):
            if mask[b, t]:
                expected -= 0.7 * advantage[b] * np.log(weights[b, t, locations[b, t]])
                expected += 0.3 * (weights[b, t] * np.log(weights[b, t])).sum()
    loss = reinforce_loss(
        *(ops.cast(x, "float32") for x in (advantage, weights, np.eye(S)[locations], mask)),
        reward_weight=0.7,
        entropy_weight=0.3,
    )
    assert float(loss) == pytest.approx(expected, abs=2e-6)


def test_labels_and_their_log_probability():
    labels = array(next_ids(TARGET))
    np.testing.assert_array_equal(labels, [[5, 6, 7, 2], [8, 2, 0, 0], [4, 4, 2, 0]])
    logits = normal(B, 4, V).astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [
        sum(log_probs[b, t, labels[b, t]] for t in range(4) if labels[b, t]) for b in range(B)
    ]
    mask = ops.convert_to_tensor((TARGET > 0).astype("float32"))
    log_prob = sequence_log_prob(logits.astype("float32"), labels.astype("int32"), mask)
    np.testing.assert_allclose(array(log_prob), expected, rtol=1e-5)


def test_baseline_is_a_moving_average_and_each_call_samples_anew():
    decoder = make()
    first = array(decoder(TARGET, encoded(), training=True))
    (loss,) = decoder.losses
    assert np.isfinite(array(loss))
    assert array(decoder.baseline) < 0  # a tenth of the mean log-probability
    second = array(decoder(TARGET, encoded(), training=True))
    assert np.abs(first - second).max() > 1e-4  # other locations
    assert array(decoder.draws) == 2
    inference = array(decoder(TARGET, encoded()))
    np.testing.assert_array_equal(inference, array(decoder(TARGET, encoded())))
    assert not decoder.losses and array(decoder.draws) == 2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
def test_training_in_half_precision(policy):
    """The loss is close to that in float32: the same noise selects the same locations."""
    expected = make()
    options = {"dtype": policy}
    # TensorFlow has no QR decomposition in bfloat16, for Keras's default initializer
    rnn_cell = keras.layers.GRUCell(6, recurrent_initializer="normal", **options)
    cell = HardAttentionCell(rnn_cell, BahdanauAttention(6, **options), **options)
    embedding = TokenEmbedding(V, 8, output="separate", **options)
    decoder = HardAttentionDecoder(embedding, cell, **options)
    decoder.build(TARGET.shape, {"sequence": (B, S, 5), "state": (B, 5)})
    decoder.set_weights(expected.get_weights())
    expected_logits = array(expected(TARGET, encoded(), training=True))
    logits = decoder(TARGET, encoded(), training=True)
    assert keras.backend.standardize_dtype(logits.dtype) == decoder.compute_dtype
    np.testing.assert_allclose(array(ops.cast(logits, "float32")), expected_logits, atol=0.1)
    assert array(decoder.losses[0]) == pytest.approx(array(expected.losses[0]), rel=0.05)
    assert array(decoder.baseline) == pytest.approx(array(expected.baseline), rel=0.05)


def test_config_round_trip():
    decoder = make(reward_weight=0.5, entropy_weight=0.1, dropout=0.2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(decoder))
    assert (again.reward_weight, again.entropy_weight, again.dropout.rate) == (0.5, 0.1, 0.2)
    again(TARGET, encoded())
    again.set_weights(decoder.get_weights())
    np.testing.assert_allclose(
        array(again(TARGET, encoded())), array(decoder(TARGET, encoded())), atol=1e-6
    )


def test_a_cell_with_soft_attention_is_rejected():
    cell = BahdanauDecoderCell(keras.layers.GRUCell(6), BahdanauAttention(6))
    with pytest.raises(ValueError, match="`cell` must be a `HardAttentionCell`. Received: "):
        HardAttentionDecoder(TokenEmbedding(V, 8, output="separate"), cell)
    RNNDecoder(TokenEmbedding(V, 8, output="separate"), cell)
