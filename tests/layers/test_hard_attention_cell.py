import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.layers import BahdanauAttention, BahdanauDecoderCell, HardAttentionCell
from keras_attention.layers.hard_attention_cell import select_location
from keras_attention.ops.noise import gumbel

B, T, S, D, U, E = 2, 3, 5, 4, 3, 6
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def make():
    cell = HardAttentionCell(keras.layers.GRUCell(U), BahdanauAttention(4), gate=True)
    cell.build((B, 1, E), memory_width=D)
    rng = np.random.default_rng(1)
    cell.set_weights([rng.normal(size=w.shape) * 0.7 for w in cell.get_weights()])
    memory = cell.memory(normal(B, S, D, seed=2), MASK)
    return cell, memory, cell.initial_state([normal(B, 1, U, seed=3)], memory)


def test_context_is_the_gated_value_of_the_highest_weight():
    cell, memory, state = make()
    output, _, weights = cell(normal(B, 1, E), state, memory, return_weights=True)
    soft = BahdanauDecoderCell.from_config(cell.get_config())
    soft.build((B, 1, E), memory_width=D)
    soft.set_weights(cell.get_weights())
    _, _, soft_weights = soft(normal(B, 1, E), state, memory, return_weights=True)
    np.testing.assert_allclose(array(weights), array(soft_weights), atol=1e-6)
    best = array(weights)[:, 0].argmax(-1)
    kernel, bias = (array(w) for w in cell.gate.weights)
    gate = 1 / (1 + np.exp(-(normal(B, 1, U, seed=3)[:, 0] @ kernel + bias)))
    expected = gate * normal(B, S, D, seed=2)[np.arange(B), best]
    np.testing.assert_allclose(array(output)[:, 0, U:], expected, rtol=1e-5, atol=1e-6)


def test_sequence_with_noise_equals_steps():
    cell, memory, state = make()
    x, noise = normal(B, T, E), gumbel(ops.arange(B), 0, (B, 1, T, S))
    state = {**state, "noise": noise}
    outputs, weights = cell.call_sequence(x, state, memory, return_weights=True)
    for t in range(T):
        output, state, step_weights = cell(
            x[:, t : t + 1], state, memory, position=t, return_weights=True
        )
        np.testing.assert_allclose(array(output)[:, 0], array(outputs)[:, t], atol=1e-5)
        np.testing.assert_allclose(array(step_weights)[:, 0], array(weights)[:, t], atol=1e-5)
    selected = array(select_location(weights, ops.squeeze(noise, 1)))
    assert (selected.sum(-1) == 1).all() and not selected[0, :, 3:].any()  # never padding
    values = (selected[:, 0, :, None] * normal(B, S, D, seed=2)).sum(1)
    first_gate = array(outputs)[:, 0, U:] / values
    np.testing.assert_allclose(first_gate, first_gate[:, :1] * np.ones(D), rtol=1e-4)


def test_locations_are_sampled_in_proportion_to_the_weights():
    weights = np.array([0.5, 0.3, 0.2, 0.0], "float32")
    rows = np.broadcast_to(weights, (20_000, 4))
    noise = gumbel(ops.arange(20_000), 0, rows.shape)
    selected = array(select_location(ops.convert_to_tensor(rows), noise))
    # three standard deviations of a proportion of 20,000 are at most 0.011
    np.testing.assert_allclose(selected.mean(0), weights, atol=0.011)
    assert selected[:, 3].sum() == 0
    highest = array(select_location(ops.convert_to_tensor(rows[:2])))
    np.testing.assert_array_equal(highest[0], [1, 0, 0, 0])


def test_it_is_a_bahdanau_cell():
    cell = HardAttentionCell(keras.layers.GRUCell(U), BahdanauAttention(4))
    assert isinstance(cell, BahdanauDecoderCell) and cell.deep_output


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
def test_noise_is_not_rounded_to_half_precision(policy):
    """Noise of the two locations differs by less than bfloat16 resolves; the larger one wins."""
    values = np.array([[[1.0], [2.0]]], "float32")
    attention = BahdanauAttention(4, dtype=policy)
    # TensorFlow has no QR decomposition in bfloat16, for Keras's default initializer
    rnn_cell = keras.layers.GRUCell(U, recurrent_initializer="normal", dtype=policy)
    cell = HardAttentionCell(rnn_cell, attention, dtype=policy)
    cell.build((1, 1, E), memory_width=1)
    cell.attention.set_weights([w * 0 for w in cell.attention.get_weights()])  # equal weights
    memory = cell.memory(values)
    state = cell.initial_state([ops.zeros((1, 1, U), cell.compute_dtype)], memory)
    for noise, location in (([5.0001, 5.0], 0), ([5.0, 5.0001], 1)):
        noise = ops.reshape(ops.convert_to_tensor(noise, "float32"), (1, 1, 1, 2))
        output, _, _ = cell(normal(1, 1, E), {**state, "noise": noise}, memory)
        assert keras.backend.standardize_dtype(output.dtype) == cell.compute_dtype
        assert array(output)[0, 0, -1] == values[0, location, 0]
