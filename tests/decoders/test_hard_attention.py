import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.decoders import HardAttentionDecoder, RNNDecoder
from keras_attention.decoders.hard_attention import labels_of, log_likelihood, reinforce
from keras_attention.layers import (
    BahdanauAttention,
    HardAttentionCell,
    RecurrentDecoderCell,
    TokenEmbedding,
)

B, S, V = 3, 4, 9
TARGET = np.array([[1, 5, 6, 7], [1, 8, 0, 0], [1, 4, 4, 0]])


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def encoded():
    return {"sequence": data(B, S, 5), "state": data(B, 5, seed=1)}


def made(**options):
    cell = HardAttentionCell(keras.layers.GRUCell(6), BahdanauAttention(6))
    decoder = HardAttentionDecoder(TokenEmbedding(V, 8, output="separate"), cell, **options)
    decoder.build(TARGET.shape, {"sequence": (B, S, 5), "state": (B, 5)})
    return decoder


def test_reinforce_is_equation_12():
    rng = np.random.default_rng(0)
    advantage = rng.normal(size=B)
    scores = rng.dirichlet(np.ones(S), (B, 4))
    places = rng.integers(0, S, (B, 4))
    kept = (TARGET > 0) * 1.0
    expected = 0.0
    for b in range(B):
        for t in range(4):
            if kept[b, t]:
                expected -= 0.7 * advantage[b] * np.log(scores[b, t, places[b, t]])
                expected += 0.3 * (scores[b, t] * np.log(scores[b, t])).sum()
    got = reinforce(
        *(ops.cast(x, "float32") for x in (advantage, scores, np.eye(S)[places], kept)),
        reward=0.7,
        entropy=0.3,
    )
    assert float(got) == pytest.approx(expected, abs=2e-6)


def test_labels_and_their_likelihood():
    labels = array(labels_of(TARGET))
    np.testing.assert_array_equal(labels, [[5, 6, 7, 2], [8, 2, 0, 0], [4, 4, 2, 0]])
    logits = data(B, 4, V).astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [
        sum(log_probs[b, t, labels[b, t]] for t in range(4) if labels[b, t]) for b in range(B)
    ]
    kept = (TARGET > 0).astype("float32")
    got = log_likelihood(logits.astype("float32"), labels.astype("int32"), kept)
    np.testing.assert_allclose(array(got), expected, rtol=1e-5)


def test_the_baseline_is_a_moving_average_and_every_draw_is_new():
    decoder = made()
    first = array(decoder(TARGET, encoded(), training=True))
    (added,) = decoder.losses
    assert np.isfinite(float(added))
    after = float(decoder.baseline)
    assert after < 0  # a tenth of the mean log-likelihood
    second = array(decoder(TARGET, encoded(), training=True))
    assert np.abs(first - second).max() > 1e-4  # it looked elsewhere
    assert int(decoder.draws) == 2
    quiet = array(decoder(TARGET, encoded()))
    np.testing.assert_array_equal(quiet, array(decoder(TARGET, encoded())))
    assert not decoder.losses and int(decoder.draws) == 2


def test_it_comes_back_from_its_config():
    decoder = made(reward=0.5, entropy=0.1, dropout=0.2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(decoder))
    assert (again.reward, again.entropy, again.dropout.rate) == (0.5, 0.1, 0.2)
    again(TARGET, encoded())
    again.set_weights(decoder.get_weights())
    np.testing.assert_allclose(
        array(again(TARGET, encoded())), array(decoder(TARGET, encoded())), atol=1e-6
    )


def test_a_soft_cell_is_refused():
    cell = RecurrentDecoderCell(keras.layers.GRUCell(6), BahdanauAttention(6))
    with pytest.raises(ValueError, match="cell: expected a HardAttentionCell. Received: "):
        HardAttentionDecoder(TokenEmbedding(V, 8, output="separate"), cell)
    RNNDecoder(TokenEmbedding(V, 8, output="separate"), cell)
