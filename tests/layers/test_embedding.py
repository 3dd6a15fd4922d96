"""Token embedding and output projection against the equations."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import TokenEmbedding
from keras_attention.layers.embedding import check_output

V, D, MAX_LENGTH = 11, 6, 8
IDS = np.array([[5, 6, 2, 0], [7, 8, 9, 2]])


def built(**options):
    """Returns an embedding with random weights of normal size."""
    embedding = TokenEmbedding(V, D, **options)
    embedding.build(IDS.shape)
    rng = np.random.default_rng(1)
    embedding.set_weights([rng.normal(size=w.shape) for w in embedding.get_weights()])
    return embedding


def sinusoid(positions, layout):
    """Vaswani et al. 2017, section 3.5; Marian's sines precede its cosines."""
    table = np.zeros((*np.shape(positions), D))
    for i in range(D // 2):
        angle = np.asarray(positions) / 10000 ** (2 * i / D)
        sine, cosine = (2 * i, 2 * i + 1) if layout == "sinusoidal" else (i, D // 2 + i)
        table[..., sine], table[..., cosine] = np.sin(angle), np.cos(angle)
    return table


def position_vectors(embedding, positions):
    if embedding.positions is None:
        return 0.0
    if embedding.positions == "learned":
        return array(embedding.table)[positions]
    return sinusoid(positions, embedding.positions)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("positions", [None, "sinusoidal", "marian", "learned"])
def test_output_follows_the_equation(positions, scale):
    """E[id] * sqrt(D) + P[position], with every form of the positions argument."""
    embedding = built(positions=positions, scale=scale, max_length=MAX_LENGTH)
    vectors = array(embedding.tokens.embeddings)[IDS] * (np.sqrt(D) if scale else 1)
    for argument, expanded in [
        (None, np.arange(4)),
        (3, np.full(4, 3)),
        (np.array(7, "int32"), np.full(4, 7)),
        (np.array([[4, 5, 6, 7]]), np.array([4, 5, 6, 7])),
        (np.array([[0, 1, 2, 2], [7, 0, 1, 5]]), np.array([[0, 1, 2, 2], [7, 0, 1, 5]])),
    ]:
        expected = vectors + position_vectors(embedding, expanded)
        output = array(embedding(IDS, positions=argument))
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5, err_msg=str(argument))


def test_tied_and_separate_output_projections():
    """Press and Wolf 2017, section 2."""
    x = np.random.default_rng(0).normal(size=(2, 3, D)).astype("float32")
    tied, separate = built(output="tied", scale=True), built(output="separate")
    assert len(tied.weights) == 1 and len(separate.weights) == 2
    table = array(tied.tokens.embeddings)
    np.testing.assert_allclose(array(tied.logits(x)), x @ table.T, rtol=1e-4, atol=1e-5)
    table, kernel = separate.get_weights()
    np.testing.assert_allclose(array(separate.logits(x)), x @ kernel, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(separate(IDS)), table[IDS], atol=1e-6)


@pytest.mark.parametrize("output", ["tied", "separate"])
def test_output_bias_is_added_to_the_logits_only(output):
    x = np.random.default_rng(0).normal(size=(2, 3, D)).astype("float32")
    embedding = built(output=output, output_bias=True)
    before, bias = array(embedding.logits(x)), array(embedding.output_bias)
    vectors = array(embedding(IDS))
    embedding.output_bias.assign(np.zeros(V))
    np.testing.assert_allclose(before, array(embedding.logits(x)) + bias, rtol=1e-5, atol=1e-6)
    assert bias.shape == (V,) and np.abs(bias).min() > 0
    np.testing.assert_array_equal(array(embedding(IDS)), vectors)
    with pytest.raises(ValueError, match="Received: output=None, output_bias=True"):
        TokenEmbedding(V, D, output_bias=True)


def test_scaled_embeddings_are_initialized_with_unit_variance():
    embedding = TokenEmbedding(1000, 64, scale=True)
    standard_deviation = array(embedding(np.arange(1000)[None])).std()
    np.testing.assert_allclose(standard_deviation, 1.0, atol=0.05)


def test_dropout_is_applied_to_the_sum():
    embedding = built(dropout=0.5, positions="sinusoidal")
    inference, output = array(embedding(IDS)), array(embedding(IDS, training=True))
    dropped = output == 0
    assert 0 < dropped.sum() < dropped.size
    np.testing.assert_allclose(output[~dropped], 2 * inference[~dropped], rtol=1e-5)


@pytest.mark.parametrize("output", [None, "tied", "separate"])
@pytest.mark.parametrize("positions", [None, "marian", "learned"])
def test_config_and_saved_model_restore_the_layer(output, positions, tmp_path):
    options = {
        "scale": True,
        "max_length": MAX_LENGTH,
        "dropout": 0.1,
        "output_bias": output == "tied",
    }
    embedding = built(output=output, positions=positions, **options)
    config = keras.saving.serialize_keras_object(embedding)
    restored = keras.saving.deserialize_keras_object(config)
    assert restored.get_config() == embedding.get_config()
    options = {"output": output, "positions": positions, **options}
    assert options.items() <= restored.get_config().items()
    ids = keras.Input((None,), dtype="int32")
    x = embedding(ids)
    assert x.shape == (None, None, D)
    keras.Model(ids, x).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(IDS)), array(embedding(IDS)))
    for old, new in zip(embedding.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("output", ["tied", "separate"])
def test_mixed_precision(policy, output):
    full = built(output=output, scale=True, positions="learned")
    half = TokenEmbedding.from_config({**full.get_config(), "dtype": policy})
    half.build(IDS.shape)
    half.set_weights(full.get_weights())
    x, exact = half(IDS), full(IDS)
    for output, expected in ((x, exact), (half.logits(x), full.logits(exact))):
        assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
        np.testing.assert_allclose(array(ops.cast(output, "float32")), array(expected), atol=0.2)


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"vocabulary_size": 4},
            "`vocabulary_size` must be .* Received: vocabulary_size=4",
        ),
        ({"max_length": 0}, "`max_length` must be positive. Received: max_length=0"),
        ({"embedding_dim": 0}, "`embedding_dim` must be positive. Received: embedding_dim=0"),
        ({"positions": "rotary"}, "`positions` must be one of .* Received: positions='rotary'"),
        ({"output": "shared"}, "`output` must be 'tied', .* Received: output='shared'"),
        (
            {"positions": "sinusoidal", "embedding_dim": 5},
            "`embedding_dim` must be even for sinusoidal .* Received: embedding_dim=5",
        ),
    ],
)
def test_invalid_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        TokenEmbedding(**{"vocabulary_size": V, "embedding_dim": D, **options})


def test_more_tokens_than_learned_positions_raise():
    embedding = TokenEmbedding(V, D, positions="learned", max_length=3)
    with pytest.raises(ValueError, match="at most max_length=3 positions.* Received: 4"):
        embedding(IDS)
    with pytest.raises(ValueError, match="at most max_length=3 positions.* Received: 4"):
        embedding(keras.Input((4,), dtype="int32"))
    TokenEmbedding(V, D, positions="sinusoidal", max_length=3)(IDS)  # not limited


def test_check_output():
    with pytest.raises(ValueError, match="output='tied' or 'separate'.* Received: output=None"):
        check_output(TokenEmbedding(V, D))
    check_output(TokenEmbedding(V, D, output="tied"))
