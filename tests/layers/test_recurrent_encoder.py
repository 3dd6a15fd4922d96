"""The RNN encoder against Keras's own RNN layers."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from helpers import array, assert_outputs_as_declared, normal
from keras_attention.layers import RecurrentEncoder

B, S, D, U = 2, 5, 4, 3
CELLS = {"gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}
RNNS = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
every_cell = pytest.mark.parametrize("cell", CELLS)


def randomize(layer, seed=1):
    """Sets weights far from zero, biases included."""
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape) * 0.5 for w in layer.get_weights()])


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_encoder_equals_keras_layers(cell, bidirectional, left):
    encoder = RecurrentEncoder(CELLS[cell](U), num_layers=2, bidirectional=bidirectional)
    x, mask = normal(B, S, D), MASK[:, ::-1] if left else MASK
    encoder.build(x.shape)
    randomize(encoder)
    layers = [RNNS[cell](U, return_sequences=True, zero_output_for_mask=True) for _ in range(2)]
    if bidirectional:
        layers = [keras.layers.Bidirectional(layer) for layer in layers]
    expected = x
    for layer, cells in zip(layers, encoder.stack, strict=True):
        layer.build(expected.shape)
        layer.set_weights([weight for cell in cells for weight in cell.get_weights()])
        expected = array(layer(expected, mask=ops.convert_to_tensor(mask)))
    encoded = encoder(x, mask=mask)
    np.testing.assert_allclose(array(encoded["sequence"]), expected, rtol=1e-4, atol=1e-5)
    assert (array(encoded["sequence"])[~mask] == 0).all()
    first, last = mask.argmax(1), S - 1 - mask[:, ::-1].argmax(1)
    ends = [expected[range(B), last, :U]]
    if bidirectional:
        ends.append(expected[range(B), first, U:])
    np.testing.assert_allclose(
        array(encoded["state"]), np.concatenate(ends, -1), rtol=1e-4, atol=1e-5
    )


@every_cell
def test_padding_on_either_side_is_ignored(cell):
    encoder = RecurrentEncoder(CELLS[cell](U), num_layers=2)
    x, padding = normal(B, 3, D), np.full((B, 2, D), 50.0, "float32")
    expected = encoder(x)
    for parts in ([x, padding], [padding, x]):
        mask = np.concatenate([np.full((B, p.shape[1]), p is x) for p in parts], 1)
        encoded = encoder(np.concatenate(parts, 1), mask=mask)
        np.testing.assert_allclose(
            array(encoded["sequence"])[:, mask[0]], array(expected["sequence"]), atol=1e-6
        )
        np.testing.assert_allclose(array(encoded["state"]), array(expected["state"]), atol=1e-6)


@every_cell
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": False, "dropout": 0.5}])
def test_keras_layer_checks(cell, options):
    width = U * (1 if options else 2)
    TestCase().run_layer_test(
        RecurrentEncoder,
        init_kwargs={"cell": CELLS[cell](U), **options},
        input_shape=(B, S, D),
        expected_output_shape={"sequence": (B, S, width), "state": (B, width)},
        expected_output_dtype={"sequence": "float32", "state": "float32"},
        supports_masking=True,
        run_training_check=False,  # uses one output only; see test_encoder_trains_and_reloads
        run_mixed_precision_check=False,  # does not set the cell's policy; see the next test
    )


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@every_cell
def test_mixed_precision(cell, policy):
    full = RecurrentEncoder(CELLS[cell](U), num_layers=2)
    half = RecurrentEncoder(CELLS[cell](U, dtype=policy), num_layers=2, dtype=policy)
    x = normal(B, S, D)
    expected = full(x, mask=MASK)
    half.build(x.shape)
    half.set_weights(full.get_weights())
    encoded = half(x, mask=MASK)
    assert_outputs_as_declared(half, encoded, x)
    for name, output in encoded.items():
        assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
        np.testing.assert_allclose(
            array(ops.cast(output, "float32")), array(expected[name]), atol=0.03
        )


@pytest.mark.slow_on_tensorflow
@pytest.mark.usefixtures("eager")
def test_encoder_trains_and_reloads(tmp_path, cell="lstm"):
    source = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, D, mask_zero=True)(source)
    encoded = RecurrentEncoder(CELLS[cell](U), num_layers=2, dropout=0.1)(x)
    assert encoded["sequence"].shape == (None, None, 2 * U) and encoded["state"].shape[1] == 2 * U
    pooled = keras.layers.GlobalAveragePooling1D()(encoded["sequence"])  # reads the Keras mask
    joined = keras.layers.Concatenate()([pooled, encoded["state"]])
    model = keras.Model(source, keras.layers.Dense(1)(joined))
    model.compile(keras.optimizers.Adam(0.03), "mse")
    ids, labels = np.array([[3, 4, 5, 0, 0], [6, 7, 8, 3, 4]]), np.array([[1.0], [-1.0]])
    history = model.fit(ids, labels, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = model.predict(ids, verbose=0)
    np.testing.assert_allclose(loaded.predict(ids, verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(
        model.predict(ids[:1, :3], verbose=0), expected[:1], atol=1e-5
    )  # the Keras mask reached every layer


def test_layers_have_different_initial_weights():
    encoder = RecurrentEncoder(keras.layers.GRUCell(U), num_layers=2)
    encoder.build((B, S, 2 * U))
    kernels = [array(cell.kernel) for cells in encoder.stack for cell in cells]
    assert len(kernels) == 4
    assert all(np.abs(kernels[0] - kernel).max() > 0.01 for kernel in kernels[1:])


@pytest.mark.parametrize("batch, time", [(0, S), (B, 1), (1, 1)])
def test_smallest_inputs(batch, time):
    encoded = RecurrentEncoder(keras.layers.GRUCell(U), num_layers=2)(normal(batch, time, D))
    assert array(encoded["sequence"]).shape == (batch, time, 2 * U)
    assert array(encoded["state"]).shape == (batch, 2 * U)


def test_invalid_options():
    cell = keras.layers.GRUCell(U)
    with pytest.raises(ValueError, match="`num_layers` must .* Received: num_layers=0"):
        RecurrentEncoder(cell, num_layers=0)
    with pytest.raises(ValueError, match=r"`inputs` must .* Received: inputs.shape=\(2, 4\)"):
        RecurrentEncoder(cell)(normal(B, D))
    with pytest.raises(
        ValueError, match=r"must not have dropout.* Received: dropout=0.5, recurrent_dropout=0"
    ):
        RecurrentEncoder(keras.layers.GRUCell(U, dropout=0.5))
    with pytest.raises(ValueError, match="must be a Keras RNN cell.* Received: cell=<Dense"):
        RecurrentEncoder(keras.layers.Dense(U))
