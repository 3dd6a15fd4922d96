"""The builder: its sizes, one embedding for both sides, training, and what it refuses."""

import json

import keras
import numpy as np
import pytest

from helpers import array, compiled_on_jax, few_on_jax, fit_steps
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.models import EncoderDecoder, transformer
from keras_attention.training import MaskedCrossEntropy

SOURCE = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2]])
TARGET = np.array([[1, 4, 5, 6], [1, 7, 8, 0]])
LABELS = np.array([[4, 5, 6, 2], [7, 8, 2, 0]])
INPUTS = {"source": SOURCE, "target": TARGET}
SMALL = {
    "size": "tiny",
    "num_layers": 2,
    "hidden_dim": 16,
    "intermediate_dim": 12,
    "num_heads": 4,
    "dropout": 0.0,
}
GEMMA = {"norm": "sandwich", "norm_kind": "rms", "activation": "geglu", "use_bias": False}


def make(source=11, target=12, **options):
    model = transformer(source, target, **{**SMALL, **options})
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


# Sizes


def weights_of(layers, hidden_dim, intermediate_dim, norm):
    """Weights of encoder and decoder without embeddings, from the paper's equations."""
    attention = 4 * (hidden_dim * hidden_dim + hidden_dim)
    feed_forward = (
        hidden_dim * intermediate_dim
        + intermediate_dim
        + intermediate_dim * hidden_dim
        + hidden_dim
    )
    norms = 2 * hidden_dim
    encoder = layers * (attention + feed_forward + 2 * norms)
    decoder = layers * (2 * attention + feed_forward + 3 * norms)
    return encoder + decoder + (2 * norms if norm == "pre" else 0)


@pytest.mark.parametrize(
    "size, table",
    [
        ("tiny", (4, 128, 256)),
        pytest.param("small", (6, 512, 1024), marks=pytest.mark.slow),
        pytest.param("base", (6, 512, 2048), marks=pytest.mark.slow),
        pytest.param("big", (6, 1024, 4096), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("norm", ["pre", pytest.param("post", marks=pytest.mark.slow)])
def test_the_table_of_sizes(size, table, norm):
    model = transformer(100, 70, size, norm=norm)
    assert model.count_params() == weights_of(*table, norm) + (100 + 70) * table[1]


def test_the_weights_of_the_paper():
    """Table 3 says 65 and 213 million with one vocabulary of about 37,000."""
    assert round((weights_of(6, 512, 2048, "post") + 37000 * 512) / 1e6) == 63
    assert round((weights_of(6, 1024, 4096, "post") + 37000 * 1024) / 1e6) == 214


@pytest.mark.parametrize("size, heads, dropout", [("tiny", 4, 0.3), ("base", 8, 0.1)])
def test_heads_and_dropout_of_the_table(size, heads, dropout):
    model = transformer(11, 12, size, num_layers=1, hidden_dim=16, intermediate_dim=8)
    encoder, decoder = model.encoder, model.decoder
    blocks = encoder.body.blocks[0], decoder.blocks[0]
    assert [b.self_attention.num_heads for b in blocks] == [heads] * 2
    layers = (
        encoder.embedding,
        decoder.embedding,
        blocks[0].self_attention_residual,
        blocks[1].cross_attention_residual,
        blocks[1].feed_forward_residual,
    )
    assert [layer.dropout.rate for layer in layers] == [dropout] * 5


def test_options_reach_the_layers():
    model = make(name="mine", num_key_value_heads=2, window=3, attention_dropout=0.2, **GEMMA)
    assert isinstance(model, EncoderDecoder) and model.name == "mine"
    assert model.output_shape == (None, None, 12)
    for block in (*model.encoder.body.blocks, *model.decoder.blocks):
        attention = block.self_attention
        assert (attention.num_key_value_heads, attention.window) == (2, 3)
        assert attention.dropout.rate == 0.2 and not attention.use_bias
        residual = block.self_attention_residual
        assert residual.norm == "sandwich" and block.feed_forward.activation == "geglu"
        assert isinstance(residual.second_norm, keras.layers.RMSNormalization)
    cross = model.decoder.blocks[0].cross_attention
    assert (cross.num_key_value_heads, cross.window) == (2, None)


# Sums of the absolute logits of each row, as TensorFlow gives them.
AGREED = {
    "marian": [54.0429, 54.5445],
    "learned": [29.2962, 34.2805],
    "rotary": [39.5337, 50.1069],
    "relative": [29.6537, 30.2671],
    "alibi": [46.4915, 36.6298],
}


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "positions, options",
    {
        "marian": {"norm": "post", "num_key_value_heads": 1},
        "learned": {"share_embeddings": True, "source": 12, "activation": "gelu"},
        "rotary": {"num_key_value_heads": 2, "qk_norm": True, "soft_cap": 2.0, **GEMMA},
        "relative": {"norm_kind": "rms", "activation": "swiglu"},
        "alibi": {"norm": "sandwich", "window": 2},
    }.items(),
)
def test_backends_agree(positions, options):
    logits = array(make(positions=positions, **options)(INPUTS)).astype("float64")
    np.testing.assert_allclose(np.abs(logits).sum((1, 2)), AGREED[positions], rtol=2e-5)


# One embedding, save and load


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "options",
    [
        {"share_embeddings": True},
        {"share_embeddings": True, "positions": "learned", "max_length": 16, "norm": "post"},
        {"positions": "relative", "num_key_value_heads": 2, **GEMMA},
        {"positions": "rotary", "window": 2, "qk_norm": True, "soft_cap": 5.0},
        {"positions": "alibi", "num_key_value_heads": 1, "activation": "swiglu"},
    ],
)
def test_reload_gives_the_same(options, tmp_path):
    model = make(12, 12, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is EncoderDecoder
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    assert [tuple(w.shape) for w in loaded.weights] == [tuple(w.shape) for w in model.weights]
    np.testing.assert_array_equal(array(loaded(INPUTS)), array(model(INPUTS)))


@pytest.mark.slow_on_tensorflow
@pytest.mark.usefixtures("eager")
def test_reloaded_it_generates_the_same(tmp_path):
    model = make(12, 12, positions="relative", num_key_value_heads=2, **GEMMA)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    strategy = BeamSearch(2, num_return_sequences=2, max_new_tokens=5)
    first, again = (
        each.generate(SOURCE, strategy, return_attention=True) for each in (model, loaded)
    )
    for expected, got in zip(first, again, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_model_from_the_config_shares_its_embedding():
    """`keras.models.clone_model` clones layer by layer, and so does not; docs/models.md."""
    model = make(12, 12, share_embeddings=True)
    copy = model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    assert copy.encoder.embedding is copy.decoder.embedding
    inputs = {"source": np.array([[5, 6, 2]]), "target": np.array([[1, 5]])}
    np.testing.assert_allclose(array(copy(inputs)), array(model(inputs)), atol=1e-6)


@pytest.mark.slow_on_tensorflow
@pytest.mark.usefixtures("eager")
def test_a_shared_embedding_is_one_and_stays_one(tmp_path):
    apart, model = make(12, 12), make(12, 12, share_embeddings=True)
    assert model.count_params() == apart.count_params() - 12 * 16
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        assert each.encoder.embedding is each.decoder.embedding
        assert len([w for w in each.weights if w.name == "embeddings"]) == 1
    # trained through both sides after loading
    before = array(each.encoder.embedding.tokens.embeddings)
    each.compile(keras.optimizers.SGD(0.1), MaskedCrossEntropy(), jit_compile=False)
    each.fit(INPUTS, LABELS, verbose=0)
    moved = np.abs(array(each.encoder.embedding.tokens.embeddings) - before).max(-1)
    assert (moved[[5, 6, 8, 10]] > 0).all()
    assert each.encoder.embedding is each.decoder.embedding


# Training


def copies(rows=16, length=4):
    ids = np.random.default_rng(0).integers(4, 12, (rows, length))
    end, start = np.full((rows, 1), 2), np.full((rows, 1), 1)
    source = np.concatenate([ids, end], 1)
    return {"source": source, "target": np.concatenate([start, ids], 1)}, source


@pytest.mark.parametrize(
    "strategy, options",
    [
        (GreedySearch(max_new_tokens=6), {"share_embeddings": True}),
        pytest.param(
            BeamSearch(3, max_new_tokens=6),
            {"positions": "rotary", "num_key_value_heads": 2, **GEMMA},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_it_learns_to_copy_and_generates_what_it_learned(strategy, options):
    inputs, labels = copies()
    model = transformer(
        12, 12, **{**SMALL, "num_layers": 1, "hidden_dim": 32, "intermediate_dim": 32, **options}
    )
    model.compile(keras.optimizers.Adam(0.01), MaskedCrossEntropy())
    losses = fit_steps(model, inputs, labels, 80)
    assert losses[0] > 2 and losses[-1] < 0.1
    output = model.generate(inputs["source"], strategy)
    np.testing.assert_array_equal(output.ids[:, 0, :5], labels)
    assert not output.ids[:, 0, 5].any()


@pytest.mark.slow(cases=1)
@pytest.mark.parametrize("positions", ["rotary", "sinusoidal", "relative"])
def test_compiled_training_is_training(positions):
    """XLA (where the backend has it) gives the losses that the plain graph gives."""
    losses = {}
    for compiled in (False, True):
        model = make(positions=positions, num_layers=1)
        model.compile(keras.optimizers.SGD(0.02), MaskedCrossEntropy(), jit_compile=compiled)
        losses[compiled] = model.fit(INPUTS, LABELS, epochs=3, verbose=0).history["loss"]
    assert losses[False][-1] < losses[False][0]
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-4)


# Errors


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": "huge"}, r"`size` must be one of \['base'.*Received: size='huge'"),
        ({"positions": "absolute"}, "`positions` must .* Received: positions='absolute'"),
        (
            {"share_embeddings": True},
            "Received: source_vocabulary_size=11, target_vocabulary_size=12",
        ),
        ({"num_heads": 3}, "`num_heads` must divide .* Received: num_heads=3, width=16"),
        ({"num_heads": 0}, "Received: num_heads=0, width=16"),
        ({"num_key_value_heads": 3}, "Received: num_heads=4, num_key_value_heads=3"),
        ({"num_layers": 0}, "Received: num_layers=0"),
        ({"intermediate_dim": 0}, "Received: intermediate_dim=0"),
        (
            {"hidden_dim": 15, "num_heads": 3},
            "`embedding_dim` must be even .* Received: embedding_dim=15",
        ),
        (
            {"hidden_dim": 12, "positions": "rotary"},
            "width of a head must be even.* Received: width=3",
        ),
        ({"norm": "none"}, "`norm` must be .* Received: norm='none'"),
        ({"norm_kind": "batch"}, "`norm_kind` must be .* Received: norm_kind='batch'"),
        ({"window": 0}, "Received: window=0"),
        ({"max_length": 0, "positions": "learned"}, "Received: max_length=0"),
        ({"source": 4}, "Received: vocabulary_size=4"),
        ({"target": 0}, "Received: vocabulary_size=0"),
        ({"layer_norm": "rms"}, "EncoderBlock: {'layer_norm': 'rms'}"),
    ],
)
def test_options_that_do_not_go(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


PAIRS = [([5, 6, 7, 2], [4, 8, 2]), ([2], [9, 5, 6, 2]), ([8, 2], [2]), ([7, 7, 9, 5, 2], [6, 2])]


def rows_of_pairs(*rows):
    """Returns source, target and labels, padded, of rows with pairs of these numbers."""
    joined = []
    for row in rows:
        sources, labels = zip(*[PAIRS[n] for n in row], strict=True)
        shifted = [[1, *each[:-1]] for each in labels]
        joined.append([sum(side, []) for side in (sources, shifted, labels)])
    return [
        np.array([side + [0] * (max(map(len, sides)) - len(side)) for side in sides])
        for sides in zip(*joined, strict=True)
    ]


@pytest.mark.slow_on_tensorflow(quick_cases=2)
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "options",
    few_on_jax(
        2,
        [
            {"positions": "learned", "max_length": 12, "norm": "post"},
            {"positions": "relative"},
            {"positions": "rotary"},
            {"positions": "sinusoidal"},
            {"positions": "alibi", "window": 2},
        ],
    ),
    ids=lambda options: options["positions"],
)
def test_a_packed_pair_is_processed_as_if_it_were_alone(options):
    model = compiled_on_jax(make(12, 11, packed=True, **options))
    source, target, labels = rows_of_pairs([0, 1, 2], [3])
    logits = array(model({"source": source, "target": target}))
    vectors = model.output_vectors({"source": source, "target": target}, training=False)
    expected = []
    for n in range(len(PAIRS)):
        source_alone, target_alone, _ = rows_of_pairs([n])
        expected += [array(model({"source": source_alone, "target": target_alone}))[0]]
    expected = np.concatenate(expected)
    np.testing.assert_allclose(logits[labels > 0], expected, rtol=1e-4, atol=1e-5)
    projected = array(model.decoder.embedding.logits(vectors))
    np.testing.assert_allclose(projected, logits, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("eager")
def test_a_packed_model_trains_and_is_restored(tmp_path):
    """With the same weights, the loss of packed rows is that of single pairs."""
    packed, plain = make(12, 11, packed=True, dropout=0.0), make(12, 11, dropout=0.0)
    plain.set_weights(packed.get_weights())
    losses = []
    for model, rows in (packed, [[0, 1], [2, 3]]), (plain, [[0], [1], [2], [3]]):
        source, target, labels = rows_of_pairs(*rows)
        model.compile(keras.optimizers.SGD(0.1), MaskedCrossEntropy())
        inputs = {"source": source, "target": target}
        losses.append([model.train_on_batch(inputs, labels) for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    packed.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    source, target, _ = rows_of_pairs([3, 2, 1, 0])
    inputs = {"source": source, "target": target}
    outputs = [array(compiled_on_jax(model)(inputs)) for model in (loaded, packed)]
    np.testing.assert_allclose(*outputs, atol=1e-6)
    source = rows_of_pairs([0], [3])[0]
    strategy = GreedySearch(max_new_tokens=8)
    np.testing.assert_array_equal(
        array(loaded.generate(source, strategy).ids), array(plain.generate(source, strategy).ids)
    )
