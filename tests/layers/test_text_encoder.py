"""Text encoder: embedding, body, padding and reversal."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from helpers import array
from keras_attention.layers import RecurrentEncoder, TextEncoder, TokenEmbedding

IDS = np.array([[5, 6, 2, 0, 0], [7, 8, 9, 4, 2]])
MASK = IDS != 0


def make(policy="float32", reverse=False, **options):
    body = RecurrentEncoder(keras.layers.GRUCell(3, dtype=policy), dtype=policy)
    embedding = TokenEmbedding(10, 4, dtype=policy, **options)
    return TextEncoder(embedding, body, reverse, dtype=policy)


def test_output_is_the_body_applied_to_the_embedding():
    encoder = make()
    encoded = encoder(IDS)
    expected = encoder.body(array(encoder.embedding.tokens.embeddings)[IDS], mask=MASK)
    for name in expected:
        np.testing.assert_allclose(array(encoded[name]), array(expected[name]), atol=1e-6)
    np.testing.assert_array_equal(array(encoder.compute_mask(IDS)), MASK)


def test_reverse_reads_from_the_end_and_preserves_the_order():
    encoder = make(reverse=True)
    encoded = encoder(IDS)
    backward = array(encoder.embedding.tokens.embeddings)[IDS][:, ::-1]
    expected = encoder.body(backward, mask=MASK[:, ::-1])
    np.testing.assert_allclose(
        array(encoded["sequence"]), array(expected["sequence"])[:, ::-1], atol=1e-6
    )
    np.testing.assert_allclose(array(encoded["state"]), array(expected["state"]), atol=1e-6)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("positions", [None, "sinusoidal", "learned"])
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_on_either_side_does_not_change_the_output(reverse, positions):
    encoder = make(reverse=reverse, positions=positions)
    expected = encoder(IDS[:1, :3])
    for padded, tokens in ((IDS[:1], slice(0, 3)), (np.roll(IDS[:1], 2, 1), slice(2, 5))):
        encoded = encoder(padded)
        np.testing.assert_allclose(
            array(encoded["sequence"])[:, tokens], array(expected["sequence"]), atol=1e-6
        )
        np.testing.assert_allclose(array(encoded["state"]), array(expected["state"]), atol=1e-6)


@pytest.mark.parametrize("reverse, dropout", [(False, 0.0), (True, 0.3)])
def test_keras_layer_requirements(reverse, dropout):
    TestCase().run_layer_test(
        TextEncoder,
        init_kwargs={
            "embedding": TokenEmbedding(10, 4, dropout=dropout),
            "body": RecurrentEncoder(keras.layers.GRUCell(3)),
            "reverse": reverse,
        },
        input_shape=(2, 5),
        input_dtype="int32",
        expected_output_shape={"sequence": (2, 5, 6), "state": (2, 6)},
        expected_output_dtype={"sequence": "float32", "state": "float32"},
        run_training_check=False,  # sums a single output; tests/models trains the layer
        run_mixed_precision_check=False,  # ignores the cell's policy; see the next test
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_sublayers_follow_the_dtype_policy_of_the_layer(policy):
    """And not the global policy at the time of construction or loading."""
    full, half = make(), make(policy)
    expected = full(IDS)
    half.build(IDS.shape)
    half.set_weights(full.get_weights())
    half = TextEncoder.from_config(half.get_config())
    half.build(IDS.shape)
    half.set_weights(full.get_weights())
    for name, output in half(IDS).items():
        assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
        np.testing.assert_allclose(
            array(ops.cast(output, "float32")), array(expected[name]), atol=0.03
        )
    assert keras.backend.standardize_dtype(half.embedding(IDS).dtype) == half.compute_dtype


def test_dropout_is_applied_in_training_only():
    encoder = make(dropout=0.5)
    inference = array(encoder(IDS)["state"])
    np.testing.assert_array_equal(array(encoder(IDS)["state"]), inference)
    assert np.abs(array(encoder(IDS, training=True)["state"]) - inference).max() > 1e-3


def test_short_learned_position_table_in_a_functional_model():
    """Keras infers shapes with lengths that may exceed the table."""
    encoder = make(positions="learned", max_length=5)
    encoded = encoder(keras.Input((None,), dtype="int32"))
    assert encoded["sequence"].shape == (None, None, 6)
    assert encoded["state"].shape == (None, 6)
