"""Tests of the SentencePiece and character tokenizers."""

import pytest

from helpers import train_sentencepiece
from keras_attention.text import SPECIALS, CharacterTokenizer, SentencePieceTokenizer

LINES = ["der hund läuft im park", "die hunde laufen", "ein park , ein hund"] * 5


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_learning_is_deterministic(model_type):
    first, second = (
        SentencePieceTokenizer.train(LINES, 24, model_type=model_type) for _ in range(2)
    )
    assert first.vocabulary == second.vocabulary
    assert first.vocabulary_size == 24
    assert first._proto == second._proto


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_vocabulary_size_is_a_maximum(model_type):
    tokenizer = SentencePieceTokenizer.train(LINES, 5000, model_type=model_type)
    assert 24 < tokenizer.vocabulary_size < 200


def test_pieces_join_to_the_text():
    tokenizer = SentencePieceTokenizer.train(LINES, 60, model_type="bpe")
    ids = tokenizer.tokenize(["der hund läuft"])[0]
    assert "".join(tokenizer.tokens(ids)) == "▁der▁hund▁läuft"


def test_a_space_and_its_symbol_are_the_same_token():
    """SentencePiece cannot tell them apart; docs/text.md says so."""
    for tokenizer in (SentencePieceTokenizer.train(LINES, 60), CharacterTokenizer.train(LINES)):
        ids = tokenizer.tokenize(["der\u2581hund"])
        assert ids.to_list() == tokenizer.tokenize(["der hund"]).to_list()
        assert tokenizer.detokenize(ids).numpy().tolist() == [b"der hund"]


def test_characters():
    tokenizer = CharacterTokenizer.train(["ab ba", "aa"])
    assert tokenizer.vocabulary == [*SPECIALS, "a", "b", "▁"]
    ids = tokenizer.tokenize([" a  b ", "xyz b"])
    assert ids.to_list() == [[6, 4, 6, 6, 5, 6], [3, 6, 5]]
    assert list(tokenizer.detokenize(ids).numpy()) == [b" a  b ", b"[UNK] b"]


def test_rare_characters_are_left_out():
    tokenizer = CharacterTokenizer.train(["aaa bbb c", "a"], vocabulary_size=6)
    assert tokenizer.vocabulary == [*SPECIALS, "a", "b"]


def test_invalid_protos():
    with pytest.raises(ValueError, match="Received: .*=b'no model'"):
        SentencePieceTokenizer(b"no model")
    with pytest.raises(ValueError, match=r"Received: \(-1, 1, 2, 0\)"):
        SentencePieceTokenizer(train_sentencepiece(LINES, 20))
