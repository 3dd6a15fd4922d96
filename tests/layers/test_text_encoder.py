import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from helpers import array
from keras_attention.layers import RecurrentEncoder, TextEncoder, TokenEmbedding

IDS = np.array([[5, 6, 2, 0, 0], [7, 8, 9, 4, 2]])
KEPT = IDS != 0


def make(policy="float32", reverse=False, **options):
    body = RecurrentEncoder(keras.layers.GRUCell(3, dtype=policy), dtype=policy)
    embedding = TokenEmbedding(10, 4, dtype=policy, **options)
    return TextEncoder(embedding, body, reverse, dtype=policy)


def test_it_is_the_body_over_the_embedding():
    encoder = make()
    encoded = encoder(IDS)
    expected = encoder.body(array(encoder.embedding.tokens.embeddings)[IDS], mask=KEPT)
    for name in expected:
        np.testing.assert_allclose(array(encoded[name]), array(expected[name]), atol=1e-6)
    np.testing.assert_array_equal(array(encoder.compute_mask(IDS)), KEPT)


def test_reverse_reads_from_the_end_and_keeps_the_order():
    encoder = make(reverse=True)
    encoded = encoder(IDS)
    backward = array(encoder.embedding.tokens.embeddings)[IDS][:, ::-1]
    expected = encoder.body(backward, mask=KEPT[:, ::-1])
    np.testing.assert_allclose(
        array(encoded["sequence"]), array(expected["sequence"])[:, ::-1], atol=1e-6
    )
    np.testing.assert_allclose(array(encoded["state"]), array(expected["state"]), atol=1e-6)


@pytest.mark.parametrize("positions", [None, "sinusoidal", "learned"])
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_changes_nothing(reverse, positions):
    encoder = make(reverse=reverse, positions=positions)
    expected = encoder(IDS[:1, :3])
    for padded, places in ((IDS[:1], slice(0, 3)), (np.roll(IDS[:1], 2, 1), slice(2, 5))):
        encoded = encoder(padded)
        np.testing.assert_allclose(
            array(encoded["sequence"])[:, places], array(expected["sequence"]), atol=1e-6
        )
        np.testing.assert_allclose(array(encoded["state"]), array(expected["state"]), atol=1e-6)


@pytest.mark.parametrize("reverse, dropout", [(False, 0.0), (True, 0.3)])
def test_keras_layer_checks(reverse, dropout):
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
        run_training_check=False,  # it sums one output; models/ trains it
        run_mixed_precision_check=False,  # it leaves the cell's policy be; see the next test
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_the_layers_own(policy):
    """Its parts follow its policy, not the one that is set when it is made or loaded."""
    full, half = make(), make(policy)
    expected = full(IDS)
    half.build(IDS.shape)
    half.set_weights(full.get_weights())
    half = TextEncoder.from_config(half.get_config())
    half.build(IDS.shape)
    half.set_weights(full.get_weights())
    for name, got in half(IDS).items():
        assert keras.backend.standardize_dtype(got.dtype) == half.compute_dtype
        np.testing.assert_allclose(
            array(ops.cast(got, "float32")), array(expected[name]), atol=0.03
        )
    assert keras.backend.standardize_dtype(half.embedding(IDS).dtype) == half.compute_dtype


def test_dropout_is_there_in_training_alone():
    encoder = make(dropout=0.5)
    quiet = array(encoder(IDS)["state"])
    np.testing.assert_array_equal(array(encoder(IDS)["state"]), quiet)
    assert np.abs(array(encoder(IDS, training=True)["state"]) - quiet).max() > 1e-3


def test_a_short_learned_table_in_a_functional_model():
    """Keras tries lengths of its own to know the shapes; the table need not have them."""
    encoder = make(positions="learned", max_length=5)
    encoded = encoder(keras.Input((None,), dtype="int32"))
    assert encoded["sequence"].shape == (None, None, 6)
    assert encoded["state"].shape == (None, 6)
