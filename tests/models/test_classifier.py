"""Classifier and tagger against pooling and head in NumPy; padding, training, reloading."""

import keras
import numpy as np
import pytest

from helpers import array
from keras_attention.layers import TransformerEncoder
from keras_attention.models import EncoderOnly, classifier, seq2seq, tagger, transformer

IDS = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2], [2, 0, 0, 0, 0]])
LEFT = np.array([[0, 5, 6, 7, 2], [8, 9, 10, 4, 2], [0, 0, 0, 0, 2]])
SMALL = {"num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2, "dropout": 0.0}
RNN = {"embedding_dim": 8, "units": 8}


def randomize(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def head_weights(model):
    return [array(weight).astype("float64") for weight in model.head.dense.weights]


def test_classifier_is_encoder_mean_and_dense():
    model = randomize(classifier(11, 3, **SMALL))
    sequence = array(model.encoder(IDS)["sequence"]).astype("float64")
    kernel, bias = head_weights(model)
    mean = [row[ids > 0].mean(0) for row, ids in zip(sequence, IDS, strict=True)]
    np.testing.assert_allclose(array(model(IDS)), mean @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_tagger_is_encoder_and_dense():
    model = randomize(tagger(11, 3, **SMALL))
    kernel, bias = head_weights(model)
    sequence = array(model.encoder(IDS)["sequence"]).astype("float64")
    np.testing.assert_allclose(array(model(IDS)), sequence @ kernel + bias, rtol=1e-4, atol=1e-5)


# Sums of the absolute logits of each row, as TensorFlow gives them.
AGREED = {
    "mean": [2.007314, 2.551080, 2.694141],
    "first, rotary": [1.776687, 3.045985, 3.002160],
    "attention, relative": [2.892243, 2.848143, 2.898050],
    "RNN": [1.346552, 1.945626, 1.107207],
}
KINDS = {
    "mean": lambda: classifier(11, 3, **SMALL),
    "first, rotary": lambda: classifier(11, 3, pooling="first", positions="rotary", **SMALL),
    "attention, relative": lambda: classifier(
        11, 3, pooling="attention", positions="relative", norm="post", **SMALL
    ),
    "RNN": lambda: classifier(11, 3, encoder=seq2seq(11, 12, **RNN).encoder),
}


@pytest.mark.parametrize("kind", KINDS)
def test_backends_agree(kind):
    logits = array(randomize(KINDS[kind]())(IDS)).astype("float64")
    np.testing.assert_allclose(np.abs(logits).sum(-1), AGREED[kind], rtol=1e-4)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("kind", KINDS)
def test_padding_on_either_side_is_ignored(kind):
    model = randomize(KINDS[kind]())
    np.testing.assert_allclose(array(model(LEFT)), array(model(IDS)), rtol=1e-4, atol=1e-5)
    alone = array(model(IDS[:1, :4]))
    np.testing.assert_allclose(alone, array(model(IDS))[:1], rtol=1e-4, atol=1e-5)


def test_tagger_ignores_padding_on_either_side():
    model = randomize(tagger(11, 3, **SMALL))
    np.testing.assert_allclose(
        array(model(LEFT))[LEFT > 0], array(model(IDS))[IDS > 0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_an_empty_row_are_the_bias(kind):
    model = randomize(KINDS[kind]())
    ids = np.concatenate([IDS, np.zeros((1, 5), "int64")])
    logits = array(model(ids))
    np.testing.assert_allclose(logits[3], head_weights(model)[1], rtol=1e-6)
    np.testing.assert_allclose(logits[:3], array(model(IDS)), rtol=1e-5, atol=1e-6)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("kind", KINDS)
def test_reload_gives_the_same(kind, tmp_path):
    model = randomize(KINDS[kind]())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is EncoderOnly and loaded.name == model.name
    assert loaded.head.get_config() == model.head.get_config()
    np.testing.assert_array_equal(array(loaded(IDS)), array(model(IDS)))


@pytest.mark.slow_on_tensorflow
def test_classifier_learns_which_ids_occur():
    rng = np.random.default_rng(0)
    ids = rng.integers(4, 11, (64, 6)) * (np.arange(6) < rng.integers(1, 7, (64, 1)))
    labels = (ids == 7).any(1).astype("int32") + 2 * (ids == 8).any(1)
    model = classifier(11, 4, **{**SMALL, "num_layers": 1})
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(ids, labels, epochs=60, batch_size=64, verbose=0).history
    assert history["accuracy"][0] < 0.6
    assert history["accuracy"][-1] > 0.9


@pytest.mark.usefixtures("eager")
def test_tagger_ignores_tokens_of_weight_0():
    """Wrong tags with weight 0 have no effect; the loss is the mean over the other tokens."""
    labels = np.where(IDS > 4, IDS % 2, 0)
    weights = (IDS > 4).astype("float32")
    wrong = np.where(weights > 0, labels, 2)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    trained = []
    for tags in (labels, wrong):
        model = randomize(tagger(11, 3, **SMALL))
        logits = array(model(IDS)).astype("float64")
        model.compile(keras.optimizers.SGD(0.1), loss)
        first, *_ = model.fit(IDS, tags, sample_weight=weights, epochs=2, verbose=0).history["loss"]
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        each = -np.take_along_axis(log_probs, labels[..., None], -1)[..., 0]
        np.testing.assert_allclose(first, (each * weights).sum() / weights.sum(), rtol=1e-4)
        trained.append(array(model(IDS)))
    np.testing.assert_allclose(*trained, rtol=1e-4, atol=1e-5)


def test_trained_encoder_is_shared():
    translator = randomize(transformer(11, 12, "tiny", **SMALL))
    before = array(translator.encoder(IDS)["sequence"])
    model = classifier(11, 3, dropout=0.25, encoder=translator.encoder)
    assert model.encoder is translator.encoder
    assert model.head.dropout.rate == 0.25
    np.testing.assert_array_equal(array(model.encoder(IDS)["sequence"]), before)


def test_options_reach_the_layers():
    model = classifier(
        11, 3, "small", num_layers=1, intermediate_dim=24, name="mine", activation="gelu"
    )
    (block,) = model.encoder.body.blocks
    assert model.name == "mine" and isinstance(model.encoder.body, TransformerEncoder)
    assert (block.num_heads, model.encoder.embedding.embedding_dim) == (4, 512)
    assert block.intermediate_dim == 24 and block.activation == "gelu"
    assert model.head.dropout.rate == 0.3 and model.head.pooling.kind == "mean"
    assert tagger(11, 3, num_layers=1, dropout=0.1).head.dropout.rate == 0.1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": "huge"}, "`size` must .* Received: size='huge'"),
        ({"pooling": "max"}, "Received: pooling='max'"),
        ({"positions": "far"}, "Received: positions='far'"),
        ({"vocabulary_size": 3}, "Received: vocabulary_size=3"),
        ({"num_classes": 0}, "Received: num_classes=0"),
        (
            {"encoder": "seq2seq", "vocabulary_size": 12},
            "`encoder` must .*vocabulary_size=11, vocabulary_size=12",
        ),
        (
            {"encoder": "seq2seq", "hidden_dim": 8, "norm": "post"},
            r"Received: encoder=.*, \['hidden_dim', 'norm'\]",
        ),
    ],
)
def test_invalid_options(options, message):
    if options.get("encoder"):
        options = {**options, "encoder": seq2seq(11, 12, **RNN).encoder}
    with pytest.raises(ValueError, match=message):
        classifier(**{"vocabulary_size": 11, "num_classes": 3, **options})
