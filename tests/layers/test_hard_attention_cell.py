import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import BahdanauAttention, HardAttentionCell, RecurrentDecoderCell
from keras_attention.layers.hard_attention_cell import choice
from keras_attention.ops.noise import gumbel

B, T, S, D, U, E = 2, 3, 5, 4, 3, 6
KEPT = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def made():
    cell = HardAttentionCell(keras.layers.GRUCell(U), BahdanauAttention(4), gate=True)
    cell.build((B, 1, E), memory_width=D)
    rng = np.random.default_rng(1)
    cell.set_weights([rng.normal(size=w.shape) * 0.7 for w in cell.get_weights()])
    memory = cell.attention.memory(data(B, S, D, seed=2), mask=KEPT)
    return cell, memory, cell.initial_state([data(B, 1, U, seed=3)], memory)


def test_the_context_is_the_value_of_the_highest_score_through_the_gate():
    cell, memory, state = made()
    output, _, scores = cell(data(B, 1, E), state, memory)
    soft = RecurrentDecoderCell.from_config(cell.get_config())
    soft.build((B, 1, E), memory_width=D)
    soft.set_weights(cell.get_weights())
    _, _, same = soft(data(B, 1, E), state, memory)
    np.testing.assert_allclose(array(scores), array(same), atol=1e-6)
    best = array(scores)[:, 0].argmax(-1)
    kernel, bias = (array(w) for w in cell.gate.weights)
    gate = 1 / (1 + np.exp(-(data(B, 1, U, seed=3)[:, 0] @ kernel + bias)))
    expected = gate * data(B, S, D, seed=2)[np.arange(B), best]
    np.testing.assert_allclose(array(output)[:, 0, U:], expected, rtol=1e-5, atol=1e-6)


def test_a_sequence_with_noise_is_stepping_with_it():
    cell, memory, state = made()
    x, noise = data(B, T, E), gumbel(ops.arange(B), 0, (B, 1, T, S))
    outputs, scores = cell.sequence(x, {**state, "noise": noise}, memory)
    now = {**state, "noise": noise}
    for t in range(T):
        output, now, score = cell(x[:, t : t + 1], now, memory, position=t)
        np.testing.assert_allclose(array(output)[:, 0], array(outputs)[:, t], atol=1e-5)
        np.testing.assert_allclose(array(score)[:, 0], array(scores)[:, t], atol=1e-5)
    chosen = array(choice(scores, ops.squeeze(noise, 1)))
    assert (chosen.sum(-1) == 1).all() and not chosen[0, :, 3:].any()  # padding is never chosen
    gate_of_first = array(outputs)[:, 0, U:] / (chosen[:, 0, :, None] * data(B, S, D, seed=2)).sum(
        1
    )
    np.testing.assert_allclose(gate_of_first, gate_of_first[:, :1] * np.ones(D), rtol=1e-4)


def test_choices_are_samples_of_the_scores():
    scores = np.array([0.5, 0.3, 0.2, 0.0], "float32")
    rows = np.broadcast_to(scores, (20_000, 4))
    noise = gumbel(ops.arange(20_000), 0, rows.shape)
    chosen = array(choice(ops.convert_to_tensor(rows), noise))
    # three standard deviations of a share of 20,000 are at most 0.011
    np.testing.assert_allclose(chosen.mean(0), scores, atol=0.011)
    assert chosen[:, 3].sum() == 0
    np.testing.assert_array_equal(array(choice(ops.convert_to_tensor(rows[:2])))[0], [1, 0, 0, 0])


def test_luongs_order_has_no_choice():
    cell = HardAttentionCell(keras.layers.GRUCell(U), BahdanauAttention(4))
    assert cell.order == "bahdanau"
    with pytest.raises(ValueError, match="gate: expected False in Luong's order"):
        HardAttentionCell(keras.layers.GRUCell(U), None, gate=True)
