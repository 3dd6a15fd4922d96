"""SentencePiece models with the normalization of a tokenizer."""

import itertools
import unicodedata

import pytest
from sentencepiece import SentencePieceProcessor

from helpers import train_sentencepiece
from keras_attention.export.litert_lm.sentencepiece import (
    embed_normalization,
    has_own_rules,
    list_rules,
)
from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer

pytestmark = pytest.mark.tensorflow_only
LINES = ["ein großer hund läuft", "Ἀθήνα và tiếng việt", "the dog sees the cat", "ﬁne 한국"]
TEXTS = [
    *LINES,
    "Ein GROßER Hund\tLÄUFT\nund schläft\r\n",
    "  two   spaces ",
    "",
    "tie\u0302\u0301ng vi\u1ec7t, tiê\u0301ng viẹ\u0302t",
    "\u1112\u1161\u11ab국 e\u0301 \u212b",
    "Ｔhe ﬁne dog",
    "▁the▁ [END] <s>",
    "漢字",
]


@pytest.mark.parametrize(
    ("kind", "normalization", "lowercase"),
    [
        ("unigram", "NFC", False),
        ("unigram", "NFKC", True),
        ("unigram", None, True),
        ("bpe", "NFC", True),
        ("char", "NFC", False),
        ("char", "NFKC", True),
    ],
)
def test_ids_are_those_of_the_tokenizer(kind, normalization, lowercase):
    if kind == "char":
        tokenizer = CharacterTokenizer.train(LINES, None, lowercase, normalization)
    else:
        tokenizer = SentencePieceTokenizer.train(LINES, 80, lowercase, normalization, kind)
    processor = SentencePieceProcessor(model_proto=embed_normalization(tokenizer))
    expected = [tokenizer.tokenize([text])[0].numpy().tolist() for text in TEXTS]
    assert [processor.encode(text) for text in TEXTS] == expected
    assert len(set(itertools.chain(*expected))) > 20


def test_every_decomposed_character_is_composed():
    letters = "".join(map(chr, range(0xC0, 0x250)))
    tokenizer = CharacterTokenizer.train([letters])
    processor = SentencePieceProcessor(model_proto=embed_normalization(tokenizer))
    for letter in letters:
        decomposed = unicodedata.normalize("NFD", letter)
        assert processor.encode(decomposed) == tokenizer.tokenize([letter])[0].numpy().tolist()


def test_rules_of_other_characters_are_left_out():
    rules = dict(list_rules("NFC", True, "eếω"))
    assert rules["e\u0301"] == "é" and rules["ê\u0301"] == "ế" and rules["E"] == "e"
    assert rules["\u2126"] == "ω"  # the ohm sign is that letter
    assert not rules.keys() & {"a\u0301", "A", "Ａ"}


def test_a_model_with_rules_of_its_own_keeps_them():
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    names = {"pad": "[PAD]", "bos": "[START]", "eos": "[END]", "unk": "[UNK]"}
    pieces = {f"{name}_piece": piece for name, piece in names.items()}
    options = {**ids, **pieces, "normalization_rule_name": "nmt_nfkc"}
    tokenizer = SentencePieceTokenizer(train_sentencepiece(LINES, 60, **options))
    assert has_own_rules(tokenizer) and embed_normalization(tokenizer) == tokenizer.proto
    assert not has_own_rules(CharacterTokenizer.train(LINES))
