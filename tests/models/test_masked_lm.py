"""The masked language model: tied logits, pretraining, and models that use its encoder."""

import keras
import numpy as np
import pytest

from helpers import array
from keras_attention.decoders import TransformerDecoder
from keras_attention.layers import (
    DecoderBlock,
    EncoderBlock,
    TextEncoder,
    TokenEmbedding,
    TransformerEncoder,
)
from keras_attention.models import (
    EncoderDecoder,
    MaskedLM,
    classifier,
    masked_lm,
    tagger,
)
from keras_attention.training import MaskedCrossEntropy, MaskedTexts, TokenAccuracy

IDS = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2], [2, 0, 0, 0, 0]])
SMALL = {"num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2, "dropout": 0.0}


def randomize(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def test_logits_are_products_with_the_embedding():
    model = randomize(masked_lm(11, **SMALL))
    table = array(model.encoder.embedding.tokens.embeddings).astype("float64")
    sequence = array(model.encoder(IDS)["sequence"]).astype("float64")
    np.testing.assert_allclose(array(model(IDS)), sequence @ table.T, rtol=1e-4, atol=1e-4)
    assert len(model.trainable_variables) == len(model.encoder.trainable_variables)


def test_reload_gives_the_same(tmp_path):
    model = randomize(masked_lm(11, name="mine", positions="rotary", **SMALL))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is MaskedLM and loaded.name == "mine"
    np.testing.assert_array_equal(array(loaded(IDS)), array(model(IDS)))
    assert loaded.count_params() == model.count_params()


@pytest.mark.slow_on_tensorflow
def test_hidden_tokens_are_predicted_from_their_neighbors():
    """Each row is a token and the token that always follows it."""
    words = np.random.default_rng(0).integers(4, 10, (256, 1))
    ids = np.concatenate([words, words + 6], axis=1)
    keras.utils.set_random_seed(0)
    model = masked_lm(16, **{**SMALL, "num_layers": 1})
    model.compile(keras.optimizers.Adam(0.02), MaskedCrossEntropy(), metrics=[TokenAccuracy()])
    batches = MaskedTexts(ids, 16, batch_size=64, rate=0.3)
    history = model.fit(batches, epochs=25, verbose=0).history["token_accuracy"]
    assert history[0] < 0.5
    hidden = ids.copy()
    hidden[:, 0] = 3  # UNKNOWN
    assert (array(model(hidden)).argmax(-1)[:, 0] == ids[:, 0]).mean() > 0.95


@pytest.mark.slow_on_tensorflow
def test_other_models_share_the_encoder():
    pretrained = randomize(masked_lm(11, **SMALL))
    before = array(pretrained.encoder(IDS)["sequence"])
    decoder = TransformerDecoder(
        pretrained.encoder.embedding, [DecoderBlock(num_heads=2, intermediate_dim=16)]
    )
    models = {
        "classifier": classifier(11, 3, encoder=pretrained.encoder),
        "tagger": tagger(11, 3, encoder=pretrained.encoder),
        "translator": EncoderDecoder(pretrained.encoder, decoder),
    }
    for name, model in models.items():
        assert model.encoder is pretrained.encoder, name
        np.testing.assert_array_equal(array(model.encoder(IDS)["sequence"]), before)
    # the translator trains the shared encoder: source, target and output share one table
    model = models["translator"]
    target, labels = np.array([[1, 4], [1, 5], [1, 6]]), np.array([[4, 2], [5, 2], [6, 2]])
    model.compile(keras.optimizers.SGD(0.1), MaskedCrossEntropy())
    model.fit({"source": IDS, "target": target}, labels, verbose=0)
    assert np.abs(array(pretrained.encoder(IDS)["sequence"]) - before).max() > 1e-4
    assert model.generate(IDS).ids.shape[0] == 3


def test_reload_of_a_translator_with_its_encoder(tmp_path):
    pretrained = randomize(masked_lm(11, **SMALL))
    block = DecoderBlock(num_heads=2, intermediate_dim=16)
    model = EncoderDecoder(
        pretrained.encoder, TransformerDecoder(pretrained.encoder.embedding, [block])
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.encoder.embedding is loaded.decoder.embedding
    inputs = {"source": IDS, "target": np.array([[1, 4, 5], [1, 6, 0], [1, 0, 0]])}
    np.testing.assert_allclose(array(loaded(inputs)), array(model(inputs)), rtol=1e-5, atol=1e-6)


def test_embedding_without_output_is_rejected():
    body = TransformerEncoder([EncoderBlock(num_heads=2, intermediate_dim=16)])
    with pytest.raises(ValueError, match="Received: output=None"):
        MaskedLM(TextEncoder(TokenEmbedding(11, 8), body))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": "huge"}, "Received: size='huge'"),
        ({"positions": "far"}, "Received: positions='far'"),
        ({"norm": "mid"}, "Received: norm='mid'"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        masked_lm(11, **options)
