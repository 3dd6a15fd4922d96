"""Python lists of ids and of texts are those of TensorFlow's operations."""

import os
import subprocess
import sys
import unicodedata
from itertools import islice

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import train_sentencepiece
from keras_attention.text import (
    SPECIALS,
    CharacterTokenizer,
    MarianTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordPieceTokenizer,
    read_lines,
)
from keras_attention.text.normalization import NORMALIZATIONS, normalize, normalize_text
from keras_attention.text.postprocessors import ContinuationPostprocessor, TextPostprocessor
from keras_attention.text.preprocessors import (
    PromptPreprocessor,
    TextPreprocessor,
    WordPreprocessor,
)
from keras_attention.types import Batch

# The planes between these ranges have no characters; those above are private.
CODES = *range(0xD800), *range(0xE000, 0x33000), *range(0xE0000, 0xE1000)
CHARACTERS = [chr(code) for code in CODES]
LINES = ["der Hund läuft im Park", "die Hunde laufen", "ein Park , ein Hund", "Süßes Eis"] * 5
TEXTS = [
    *LINES[:4],
    "",
    " ",
    "  two   spaces ",
    "日本 läuft 😀",
    "der▁hund ▁ ",
    "e\u0301 \u00a0x \u200b \ufeff",
    "\ufeffa\tb\nc\rd\fe\vf\0g\u2028h",
    "[UNK] [PAD] <s> </s> <unk>",
    "ﬁne Ｔhe ΟΔΟΣ İ ẞ ǅ",
    ">>fra<< ein Hund",
    ">>fra<<>>fra<< Hund",
    " >>fra<< Hund << >>",
    ">>xyz<< Hund",
    ">>fra <",
    "HUND" * 20,
]


def marian(size=60, **options):
    """Returns a tokenizer with a language code, a foreign piece and without one of its own."""
    proto = train_sentencepiece(LINES, size, **options)
    pieces = sorted({"▁the", "▁", "é", *SentencePieceTokenizer.train(LINES, 60).vocabulary[5:]})
    bytes_ = [f"<0x{i:02X}>" for i in range(256)] if options else []
    return MarianTokenizer(proto, [*SPECIALS, *pieces, ">>fra<<", *bytes_])


TOKENIZERS = {
    "unigram": SentencePieceTokenizer.train(LINES, 60, lowercase=True, normalization="NFKC"),
    "bpe": SentencePieceTokenizer.train(LINES, 60, model_type="bpe"),
    "characters": CharacterTokenizer.train(LINES, normalization=None),
    "wordpiece": WordPieceTokenizer.train(LINES, 80, lowercase=True),
    "marian": marian(),
}
by_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)


def check_equal(tokenizer, texts):
    """Compares ids, and the texts of these ids and of random ones."""
    ids = tokenizer.tokenize_to_lists(texts)
    assert ids == tokenizer.tokenize(texts).to_list()
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, tokenizer.vocabulary_size, (len(texts), 12)).astype("int32")
    for batch in (tf.ragged.constant(ids, "int32", 1).to_tensor().numpy(), drawn):
        expected = [text.decode("utf-8") for text in tokenizer.detokenize(batch).numpy()]
        assert tokenizer.detokenize_to_texts(batch) == expected


@by_tokenizer
def test_difficult_texts(tokenizer):
    check_equal(tokenizer, TEXTS)
    assert len({*map(tuple, tokenizer.tokenize_to_lists(TEXTS))}) > 8
    assert tokenizer.tokenize_to_lists([]) == []
    assert tokenizer.detokenize_to_texts(np.zeros((0, 0), "int32")) == []


class TensorFlowTokenizer(CharacterTokenizer):
    """As a tokenizer of one's own that only defines the operations of a graph."""

    _split_to_lists = Tokenizer._split_to_lists
    _join_to_texts = Tokenizer._join_to_texts


def test_a_tokenizer_without_methods_for_lists():
    tokenizer = TensorFlowTokenizer.train(LINES)
    check_equal(tokenizer, TEXTS)
    assert tokenizer.tokenize_to_lists([]) == []


def test_pieces_of_bytes():
    tokenizer = marian(320, byte_fallback=True)
    check_equal(tokenizer, TEXTS)
    first = tokenizer.vocabulary.index("<0x00>")
    rows = [[first + byte for byte in row] for row in ([0xE4, 0xBA], [0xC3, 0x28], [0xFF, 0x41])]
    expected = [text.decode("utf-8") for text in tokenizer.detokenize(rows).numpy()]
    assert tokenizer.detokenize_to_texts(rows) == expected


@given(texts=st.lists(st.text(st.characters(codec="utf-8", max_codepoint=0x85F)), min_size=1))
@example(texts=TEXTS)
def test_any_text(texts):
    for tokenizer in TOKENIZERS.values():
        assert tokenizer.tokenize_to_lists(texts) == tokenizer.tokenize(texts).to_list()


@by_tokenizer
def test_real_texts(tokenizer, shared_data):
    files = [shared_data / "multi30k" / f"val.{language}" for language in ("de", "en", "fr")]
    lines = [line for file in files for line in islice(read_lines(file), 300)]
    check_equal(tokenizer, lines)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_normalization_of_every_character(normalization, lowercase):
    """Except for those that are new in the Unicode version of Python or of TensorFlow."""
    texts = [f"A{each}\u0323 ΑΣ" for each in CHARACTERS]
    expected = normalize(tf.constant(texts), lowercase, normalization).numpy()
    different = [
        each
        for each, text, theirs in zip(CHARACTERS, texts, expected, strict=True)
        if normalize_text(text, lowercase, normalization) != theirs.decode("utf-8")
    ]
    assert len(different) < 600
    assert all(unicodedata.category(each) == "Cn" or ord(each) >= 0x2C2F for each in different)


def test_wordpiece_splits_at_the_same_characters():
    """Except for those that Python's version of Unicode does not have yet."""
    tokenizer = WordPieceTokenizer([*SPECIALS, "a", "##a", "b"], normalization=None)
    texts = [f"a{each}b" for each in CHARACTERS]
    rows, expected = tokenizer.tokenize_to_lists(texts), tokenizer.tokenize(texts).to_list()
    triples = zip(CHARACTERS, rows, expected, strict=True)
    different = [each for each, row, other in triples if row != other]
    assert len(different) < 100
    assert all(unicodedata.category(each) == "Cn" for each in different)
    received = [tokenizer.tokenize_to_lists([f"a{each}b"])[0] for each in "!$中\u2003\x1ca"]
    assert received == [[4, 3, 6]] * 3 + [[4, 6], [3], [3]]


def test_the_longest_word_of_wordpiece():
    tokenizer = WordPieceTokenizer([*SPECIALS, "a", "##a", "é", "##é"])
    texts = ["a" * 100, "a" * 101, "é" * 50, "é" * 51]
    assert [len(ids) for ids in tokenizer.tokenize_to_lists(texts)] == [100, 1, 50, 1]
    check_equal(tokenizer, texts)


def test_lists_end_and_are_truncated():
    tokenizer = TOKENIZERS["characters"]
    with pytest.warns(UserWarning, match="1 of 3 texts have more than 3 tokens"):
        rows = tokenizer.encode_to_lists(["Hund", "er", ""], max_length=4)
    assert rows == [[*tokenizer.tokenize_to_lists(["Hun"])[0], 2], [*rows[1][:2], 2], [2]]
    assert rows == [[id for id in row if id] for row in tokenizer.encode(["Hund", "er", ""], 4)]
    with pytest.raises(ValueError, match="`max_length` must be at least 1. Received: max_length=0"):
        tokenizer.encode_to_lists(["a"], 0)


@by_tokenizer
def test_invalid_arguments(tokenizer):
    with pytest.raises(ValueError, match=r"must have shape \(batch, time\)"):
        tokenizer.detokenize_to_texts([1, 2])
    with pytest.raises(ValueError, match="`ids` must be between 0 and .* Received: 9999"):
        tokenizer.detokenize_to_texts([[4, 9999]])
    with pytest.raises(ValueError, match="surrogates not allowed"):
        tokenizer.tokenize_to_lists(["a\ud800"])


@by_tokenizer
@pytest.mark.parametrize("kind", [TextPreprocessor, PromptPreprocessor, WordPreprocessor])
def test_examples_are_those_of_the_graph(tokenizer, kind):
    preprocessor = kind(tokenizer, max_length=16)
    batch = preprocessor(TEXTS)
    examples = preprocessor.pad_examples(preprocessor.encode_examples(TEXTS))
    length = batch.model_inputs.shape[1]
    np.testing.assert_array_equal(examples.model_inputs[:, :length], batch.model_inputs)
    assert not examples.model_inputs[:, length:].any()
    if kind is WordPreprocessor:
        np.testing.assert_array_equal(examples.word_starts[:, :length], batch.word_starts)
        assert [row.tolist() for row in examples.words] == batch.words.to_list()


@by_tokenizer
@pytest.mark.parametrize("kind", [TextPostprocessor, ContinuationPostprocessor])
def test_texts_are_those_of_the_graph(tokenizer, kind):
    postprocessor = kind(tokenizer)
    rng = np.random.default_rng(0)
    prompts = rng.integers(3, tokenizer.vocabulary_size, (5, 4)).astype("int32")
    prompts[0] = 0
    ids = rng.integers(0, tokenizer.vocabulary_size, (5, 3, 6)).astype("int32")
    expected = postprocessor.detokenize(tf.constant(ids), Batch(tf.constant(prompts))).numpy()
    received = postprocessor.texts(ids, Batch(prompts))
    assert received == [[text.decode("utf-8") for text in row] for row in expected]


def print_without_tensorflow(script):
    """Runs a script on JAX, checks that it does not import TensorFlow and returns its lines."""
    modules = "[name for name in sys.modules if name.partition('.')[0].startswith('tensorflow')]"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{script}\nprint({modules})"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    *lines, imported = done.stdout.splitlines()
    assert imported == "[]", done.stderr
    return lines


def test_tokenizers_do_not_import_tensorflow(tmp_path):
    for name, tokenizer in TOKENIZERS.items():
        tokenizer.save(tmp_path / name)
    printed = print_without_tensorflow(f"""
from keras_attention.text import load_tokenizer
for name in {list(TOKENIZERS)}:
    tokenizer = load_tokenizer({str(tmp_path)!r} + "/" + name)
    ids = tokenizer.encode_to_lists({LINES[:2]})
    print([ids, tokenizer.detokenize_to_texts(ids[:1])])
""")
    expected = []
    for tokenizer in TOKENIZERS.values():
        ids = tokenizer.encode_ragged(LINES[:2]).to_list()
        expected.append(str([ids, [tokenizer.detokenize(ids[:1]).numpy()[0].decode("utf-8")]]))
    assert printed == expected


@pytest.mark.slow
def test_an_exported_task_does_not_import_tensorflow(tflite, translator):
    texts = ["bca", "", "x", "deed cab"]
    printed = print_without_tensorflow(f"""
from keras_attention.tasks import load_exported
print(load_exported({str(tflite.folder)!r})({texts}))
""")
    assert printed == [str(translator(texts))]
