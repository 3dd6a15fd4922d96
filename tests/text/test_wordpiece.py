"""Tests of the WordPiece tokenizer."""

import pytest

from keras_attention.text import SPECIALS, WordPieceTokenizer

PIECES = [*SPECIALS, "sing", "##ing", "s", "##s", "!", "中"]


def test_longest_piece_first():
    tokenizer = WordPieceTokenizer(PIECES)
    ids = tokenizer.tokenize(["singing sings! s", "song", "中中", ""])
    assert ids.to_list() == [[4, 5, 4, 7, 8, 6], [3], [9, 9], []]
    assert tokenizer.tokens(ids[0]) == ["sing", "##ing", "sing", "##s", "!", "s"]
    joined = tokenizer.detokenize(ids).numpy()
    assert list(joined) == [b"singing sings ! s", b"[UNK]", "中 中".encode(), b""]


def test_learned_pieces():
    tokenizer = WordPieceTokenizer.train(["singen springen gehen"] * 20, vocabulary_size=60)
    assert tokenizer.vocabulary[4:12] == ["e", "g", "h", "i", "n", "p", "r", "s"]
    assert {"singen", "springen", "gehen"} <= set(tokenizer.vocabulary)


@pytest.mark.slow
def test_vocabulary_size_is_a_maximum():
    lines = [f"{a}{b}{c}" for a in "abcd" for b in "efgh" for c in "ijkl"] * 2
    sizes = [WordPieceTokenizer.train(lines, size).vocabulary_size for size in (28, 40, 80)]
    assert sizes[0] == 28 and 28 < sizes[1] <= 40 < sizes[2] <= 80
    assert WordPieceTokenizer.train(lines, 28).vocabulary[4:16] == list("abcdefghijkl")
    with pytest.raises(ValueError, match="at least 28. Received: vocabulary_size=27"):
        WordPieceTokenizer.train(lines, 27)


@pytest.mark.parametrize(
    ("vocabulary", "received"),
    [
        ([], r"Received: .*=\(\)"),
        (SPECIALS, r"Received: .*=\('\[PAD\]'"),
        (["a", *SPECIALS], r"Received: .*=\('a'"),
        ([*PIECES, "sing"], "Received: 'sing' more than once"),
        ([*PIECES, "a b"], "no white space. Received: 'a b'"),
        ([*PIECES, "\u3000"], "no white space. Received: '\\\\u3000'"),
        ([*PIECES, "##" + "é" * 129], "up to 256 bytes. Received: '##éé"),
    ],
)
def test_invalid_vocabularies(vocabulary, received):
    with pytest.raises(ValueError, match=received):
        WordPieceTokenizer(vocabulary)
