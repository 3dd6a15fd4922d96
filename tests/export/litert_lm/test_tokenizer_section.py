"""The tokenizer in a `.litertlm` file: ids of this library's tokenizers."""

import pytest
from tokenizers import Tokenizer as FastTokenizer

from keras_attention.export import ExportError
from keras_attention.export.litert_lm.tokenizer_section import (
    HUGGING_FACE,
    SENTENCEPIECE,
    TokenizerSection,
    compare_tokenizers,
    make_section,
)
from keras_attention.text import CharacterTokenizer, WordPieceTokenizer

pytestmark = pytest.mark.tensorflow_only
LINES = ["the cat sat on the mat, and slept!", "a café is in the house", "ein großer 漢字 hund"] * 3
TEXTS = [
    *LINES[:3],
    "The CAT,dog's [END] [UNK] ##at x",
    "a\tb\nc",
    "",
    "e\u0301 cafÉ Ｔhe ﬁne",
    "漢字abc",
    "a-b_c$d «x» \u200bz\u2014",
    "x" * 120,
]


@pytest.mark.parametrize(("normalization", "lowercase"), [("NFC", True), ("NFKC", False)])
def test_wordpiece(normalization, lowercase):
    tokenizer = WordPieceTokenizer.train(LINES, 200, lowercase, normalization)
    section = make_section(tokenizer)
    expected = [tokenizer.tokenize([text])[0].numpy().tolist() for text in TEXTS]
    assert section.kind == HUGGING_FACE
    assert list(map(section.load(), TEXTS)) == expected
    compare_tokenizers(section, tokenizer, TEXTS)


def test_wordpiece_decodes_texts_that_begin_in_a_word():
    pieces = ["[PAD]", "[START]", "[END]", "[UNK]", "sing", "##ing", "!", "#", "##!"]
    tokenizer = WordPieceTokenizer(pieces)
    fast = FastTokenizer.from_str(make_section(tokenizer).content.decode())
    for ids in ([4, 5, 6], [5, 4, 8], [3, 7, 7, 4], [6]):
        expected = tokenizer.detokenize([[4, *ids]]).numpy()[0].decode()
        assert fast.decode(ids) == expected.removeprefix("sing").removeprefix(" ")


def test_different_ids_are_an_error():
    tokenizer = CharacterTokenizer.train(["abc"], lowercase=True)
    section = make_section(tokenizer)
    assert section.kind == SENTENCEPIECE
    compare_tokenizers(section, tokenizer, ["ABC", "a\0b"])
    section = TokenizerSection(SENTENCEPIECE, tokenizer.proto)
    with pytest.raises(ExportError, match=r"the task's returns for 'aB': \[4, 5\]. Received: "):
        compare_tokenizers(section, tokenizer, ["ab", "aB"])
