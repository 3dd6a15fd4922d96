"""The GRU cell against Keras's with the same weights."""

import keras
import numpy as np
import pytest

from helpers import array
from keras_attention.layers.rnn_cells import GRUCell

B, D, U = 2, 3, 4
VARIANTS = [
    {},
    {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
    {"use_bias": False},
    {"reset_after": False},
    {"implementation": 1},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_steps_of_the_gru_cell_are_those_of_keras(options):
    rng = np.random.default_rng(0)
    ours, keras_cell = GRUCell(U, **options), keras.layers.GRUCell(U, **options)
    for cell in (ours, keras_cell):
        cell.build((B, D))
    weights = [rng.normal(size=w.shape) for w in keras_cell.get_weights()]
    x, h = (rng.normal(size=(B, n)).astype("float32") for n in (D, U))
    ours.set_weights(weights)
    keras_cell.set_weights(weights)
    expected, (expected_state,) = keras_cell(x, [h])
    output, (state,) = ours(x, [h])
    np.testing.assert_allclose(array(output), array(expected), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(array(state), array(expected_state), rtol=1e-6, atol=1e-6)


def test_the_gru_cell_runs_in_layers_of_keras():
    cells = GRUCell(U), keras.layers.GRUCell(U)
    ours, expected = (keras.layers.RNN(cell, return_sequences=True) for cell in cells)
    x = np.random.default_rng(1).normal(size=(B, 5, D)).astype("float32")
    for layer in (ours, expected):
        layer.build(x.shape)
    ours.set_weights(expected.get_weights())
    np.testing.assert_allclose(array(ours(x)), array(expected(x)), rtol=1e-6, atol=1e-6)
