"""The SentencePiece tokenizers for TFLite split and join texts as the others do."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import InterpreterWithCustomOps
from tensorflow_text.core.pybinds.tflite_registrar import SELECT_TFTEXT_OPS

from helpers import train_sentencepiece
from keras_attention.ops.ids import END, SPECIALS, UNKNOWN
from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer
from keras_attention.text.marian import MarianTokenizer

LINES = ["der Hund läuft im Park", "die Hunde laufen", "ein Park , ein Hund", "süßes Eis"] * 5
TEXTS = [
    *LINES[:4],
    "",
    " ",
    "日本 läuft",
    "  two   spaces ",
    "der▁hund",
    "e\u0301 \u00a0x \u200b",
    "[UNK] [PAD] <s> </s>",
    "ﬁne Ｔhe 😀",
    "HUND" * 20,
]


def marian(*more):
    """Returns a tokenizer whose vocabulary lacks a piece and has one of another language."""
    proto = train_sentencepiece(LINES, 60)
    pieces = sorted({"▁the", "▁", "é", *SentencePieceTokenizer.train(LINES, 60).vocabulary[5:]})
    return MarianTokenizer(proto, [*SPECIALS, *pieces, *more])


TOKENIZERS = {
    "unigram": SentencePieceTokenizer.train(LINES, 60, lowercase=True, normalization="NFKC"),
    "char": CharacterTokenizer.train(LINES),
    "marian": marian(),
}
by_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)


@by_tokenizer
def test_splits_texts_alike(name):
    tokenizer = TOKENIZERS[name]
    expected = tokenizer.tokenize(TEXTS).to_list()
    assert tokenizer.for_tflite().tokenize(TEXTS).to_list() == expected
    assert len(set(map(tuple, expected))) > 8


def join_in_tflite(tokenizer, ids):
    """Runs `detokenize` in LiteRT; TensorFlow's own kernel of the operation crashes."""
    module, spec = tf.Module(), tf.TensorSpec((None, ids.shape[1]), tf.int32, name="ids")
    module.tokenizer = tokenizer
    module.join = tf.function(lambda ids: {"text": tokenizer.detokenize(ids)}, [spec])
    concrete = module.join.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    converter.allow_custom_ops = True
    runtime = InterpreterWithCustomOps(SELECT_TFTEXT_OPS, model_content=converter.convert())
    return runtime.get_signature_runner()(ids=ids)["text"].tolist()


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@by_tokenizer
def test_joins_tokens_alike(name):
    tokenizer = TOKENIZERS[name]
    rng = np.random.default_rng(0)
    ids = rng.integers(0, tokenizer.vocabulary_size, (300, 8)).astype("int32")
    ids[:100][ids[:100] == END] = UNKNOWN
    space = tokenizer.vocabulary.index("▁")
    ids[100:150, :2] = ids[130:180, -2:] = space  # spaces at the ends of a text
    expected = tokenizer.detokenize(ids).numpy().tolist()
    assert join_in_tflite(tokenizer.for_tflite(), ids) == expected
    assert any(b" " in text.strip() for text in expected)


def test_a_character_of_the_other_language_is_a_token():
    tokenizer = TOKENIZERS["marian"]
    ids = tokenizer.for_tflite().tokenize(["ein é"]).to_list()
    assert ids == tokenizer.tokenize(["ein é"]).to_list()
    assert ids[0][-1] == tokenizer.vocabulary.index("é")


def test_several_characters_of_the_other_language_differ():
    """docs/mobile.md says so: the tokenizer has one `[UNK]`, TFLite's form a token for each."""
    tokenizer = TOKENIZERS["marian"]
    character = tokenizer.vocabulary.index("é")
    (ids,), (for_tflite,) = (
        each.tokenize(["ein éé"]).to_list() for each in (tokenizer, tokenizer.for_tflite())
    )
    assert ids[-1] == UNKNOWN
    assert for_tflite == [*ids[:-1], character, character]


@pytest.mark.parametrize(
    "tokenizer",
    [
        SentencePieceTokenizer.train(LINES, 60, model_type="bpe"),
        MarianTokenizer(
            train_sentencepiece(LINES, 400, byte_fallback=True), [*SPECIALS, "▁der", "<0xE4>"]
        ),
        MarianTokenizer(
            train_sentencepiece(LINES, 60, user_defined_symbols=["der"]), [*SPECIALS, "der"]
        ),
        marian(">>fra<<"),
    ],
    ids=["bpe", "bytes", "user defined", "language codes"],
)
def test_other_models_are_not_for_tflite(tokenizer):
    assert tokenizer.for_tflite() is None
