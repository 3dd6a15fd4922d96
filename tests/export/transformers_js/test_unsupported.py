"""Options that the folder of transformers.js cannot represent are refused, all in one error."""

import keras
import pytest

from keras_attention.decoders import CausalLMDecoder
from keras_attention.export.transformers_js.unsupported import check_supported
from keras_attention.generation import GreedySearch, Sampling
from keras_attention.layers import DecoderBlock, TokenEmbedding
from keras_attention.models import CausalLM, causal_lm, classifier, seq2seq, transformer
from keras_attention.text import (
    CharacterTokenizer,
    MarianTokenizer,
    SentencePieceTokenizer,
    WordPieceTokenizer,
)
from small_transformers import SIZES, VOCABULARY, small_model

pytestmark = pytest.mark.tensorflow_only
LINES = ["the dog sees the cat", "the cat hears the dog"]


def received(model, strategy=None, tokenizers=None):
    """Returns what the error names, one string for each option."""
    tokenizers = tokenizers or [CharacterTokenizer.train(LINES)] * 2
    with pytest.raises(ValueError, match="A transformers.js export is for translators") as error:
        check_supported(model, strategy or GreedySearch(), tokenizers)
    return str(error.value).split("Received: ")[1].split("; ")


def test_all_are_named_at_once():
    model = small_model(transformer, num_layers=1, num_key_value_heads=1)
    tokenizers = [
        WordPieceTokenizer.train(LINES, 30),
        SentencePieceTokenizer.train(LINES, 30, model_type="bpe"),
    ]
    assert received(model, GreedySearch(length_ratio=2.0), tokenizers) == [
        "decoder: num_key_value_heads=1 with num_heads=2",
        "strategy: length_ratio=2.0",
        "source tokenizer: WordPieceTokenizer",
        "target tokenizer: a SentencePiece model that is not of type unigram",
    ]


def test_other_models_and_strategies():
    size = len(VOCABULARY)
    assert received(seq2seq(size, size, 8, 8), Sampling()) == [
        "encoder: RecurrentEncoder",
        "decoder: RNNDecoder",
        "strategy=Sampling",
    ]
    model = classifier(size, 2, **SIZES)
    assert received(model) == ["a model of class EncoderOnly"]


def test_language_models():
    blocks = [
        DecoderBlock(num_heads=heads, intermediate_dim=8, cross_attention=False) for heads in (2, 4)
    ]
    model = CausalLM(CausalLMDecoder(TokenEmbedding(len(VOCABULARY), 8, output="tied"), blocks))
    tokenizers = [SentencePieceTokenizer.train(LINES, 30, model_type="bpe")] * 2
    assert received(model, Sampling(length_ratio=2.0), tokenizers) == [
        "decoder: blocks with different numbers of heads",
        "strategy=Sampling",
        "tokenizer: a SentencePiece model that is not of type unigram",
    ]
    proto = tokenizers[0].proto
    marian = MarianTokenizer(proto, tokenizers[0].vocabulary)
    assert received(small_model(causal_lm), None, [marian] * 2) == ["tokenizer: MarianTokenizer"]
    check_supported(
        small_model(causal_lm, num_key_value_heads=1),
        GreedySearch(),
        [WordPieceTokenizer.train(LINES, 30)] * 2,
    )


def test_half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        models = [small_model(build, num_layers=1) for build in (transformer, causal_lm)]
    finally:
        keras.config.set_dtype_policy(policy)
    for model in models:
        assert received(model) == ["decoder: dtype=mixed_float16"]
