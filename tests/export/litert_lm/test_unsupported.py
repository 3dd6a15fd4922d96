"""Options that LiteRT-LM cannot represent are refused, all in one error."""

import keras
import pytest

from helpers import train_sentencepiece
from keras_attention.export.litert_lm.unsupported import check_supported
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.models import causal_lm, transformer
from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer
from small_transformers import small_model

pytestmark = pytest.mark.tensorflow_only
LINES = ["the dog sees the cat", "the cat hears the dog"]


class OwnTokenizer(CharacterTokenizer):
    """A tokenizer of the user's, which may split differently."""


@pytest.fixture(scope="module")
def model():
    return small_model(causal_lm, num_layers=1)


def received(model, strategy=None, tokenizer=None):
    """Returns what the error names, one string for each option."""
    tokenizers = [tokenizer or CharacterTokenizer.train(LINES)] * 2
    with pytest.raises(ValueError, match="A LiteRT-LM export is for language models") as error:
        check_supported(model, strategy or GreedySearch(), tokenizers)
    return str(error.value).split("Received: ")[1].split("; ")


def test_all_are_named_at_once(model):
    strategy = Sampling(num_return_sequences=2, length_ratio=2.0, force_end=True)
    assert received(model, strategy, OwnTokenizer.train(LINES)) == [
        "strategy: length_ratio=2.0",
        "strategy: force_end=True",
        "strategy: num_return_sequences=2",
        "tokenizer: OwnTokenizer",
    ]


def test_other_models_and_strategies(model):
    translator = small_model(transformer, num_layers=1)
    assert received(translator) == ["a model of class EncoderDecoder"]
    assert received(model, BeamSearch(2)) == ["strategy=BeamSearch"]


def test_lower_case_with_rules_of_the_model(model):
    options = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]",
               "bos_piece": "[START]", "eos_piece": "[END]", "unk_piece": "[UNK]"}  # fmt: skip
    proto = train_sentencepiece(LINES, 30, **options, normalization_rule_name="nmt_nfkc")
    check_supported(model, GreedySearch(), [SentencePieceTokenizer(proto)])
    assert received(model, None, SentencePieceTokenizer(proto, lowercase=True)) == [
        "tokenizer: lowercase=True with a SentencePiece model that has rules of its own"
    ]


def test_half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small_model(causal_lm, num_layers=1)
    finally:
        keras.config.set_dtype_policy(policy)
    assert received(model) == ["decoder: dtype=mixed_float16"]
