"""Tests of the batches for classification and tagging."""

import numpy as np
import pytest
import tensorflow as tf

from keras_attention.text import (
    CharacterTokenizer,
    SentencePieceTokenizer,
    WordPieceTokenizer,
    encode_words,
    labeled_batches,
    split_words,
    tagged_batches,
)

TOKENIZER = CharacterTokenizer.train(["abcdefghij"])  # id of "a" is 4, of "b" 5, ...


def some_texts(count=50, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefghij"), rng.integers(0, 30))) for _ in range(count)]


def test_contents_of_labeled_batches():
    ((ids, labels),) = labeled_batches(["ab", ""], [3, 0], TOKENIZER, shuffle=False)
    assert ids.tolist() == [[4, 5, 2, 0, 0, 0, 0, 0], [2] + [0] * 7]
    assert labels.tolist() == [3, 0]
    assert ids.dtype == labels.dtype == "int32"


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_text_keeps_its_label(shuffle):
    texts = some_texts()
    numbers = np.arange(50)
    dataset = labeled_batches(texts, numbers, TOKENIZER, 8, 40, shuffle)
    epochs = []
    for dataset.epoch in range(2):
        epoch = [(ids, labels) for ids, labels in dataset]
        assert len(epoch) == len(dataset)
        epochs.append([int(label) for _, labels in epoch for label in labels])
        for ids, labels in epoch:
            read = [text.decode() for text in TOKENIZER.detokenize(ids).numpy()]
            assert read == [texts[label] for label in labels]
            assert ids.shape[1] in (8, 12, 16, 20, 28, 36) and len(labels) <= 8
    assert sorted(epochs[0]) == sorted(epochs[1]) == numbers.tolist()
    assert (epochs[0] != epochs[1]) == shuffle


def test_contents_of_tagged_batches():
    sentences = [(["ab", "c"], [2, 1]), ([], []), (["?", "d"], [3, 4])]
    ((ids, tags, weights),) = tagged_batches(sentences, TOKENIZER, shuffle=False)
    assert ids[:, :4].tolist() == [[4, 5, 6, 2], [2, 0, 0, 0], [3, 7, 2, 0]]
    assert tags[:, :4].tolist() == [[2, 0, 1, 0], [0] * 4, [3, 4, 0, 0]]
    assert weights[:, :4].tolist() == [[1, 0, 1, 0], [0] * 4, [1, 1, 0, 0]]
    assert ids.shape == tags.shape == weights.shape == (3, 8)


def test_truncated_words_have_no_tag():
    with pytest.warns(UserWarning, match="1 of 2 texts have more than 4 tokens"):
        dataset = tagged_batches(
            [(["abc", "de", "f"], [1, 2, 3]), (["a"], [1])], TOKENIZER, max_length=5, shuffle=False
        )
    ((ids, tags, weights),) = dataset
    assert ids.tolist() == [[4, 5, 6, 7, 2], [4, 2, 0, 0, 0]]
    assert tags.tolist() == [[1, 0, 0, 2, 0], [1, 0, 0, 0, 0]]
    assert weights.tolist() == [[1, 0, 0, 1, 0], [1, 0, 0, 0, 0]]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_words_are_tokenized_like_text(kind):
    lines = ["ein hund läuft .", "zwei hunde laufen .", "ein kleiner hund schläft"]
    if kind == "wordpiece":
        tokenizer = WordPieceTokenizer.train(lines, 60)
    else:
        tokenizer = SentencePieceTokenizer.train(lines, 40, model_type=kind)
    texts = [*lines, "", "läufthund  ein"]
    ids, begins = encode_words(split_words(texts), tokenizer, 32)
    assert ids.to_list() == tokenizer.encode_ragged(texts, 32).to_list()
    assert [sum(row) for row in begins.to_list()] == [len(text.split()) for text in texts]
    assert all(row[0] for row, text in zip(begins.to_list(), texts, strict=True) if text)


def test_word_without_tokens_is_unknown():
    class Vowels:
        def tokenize(self, words):
            return TOKENIZER.tokenize(tf.strings.regex_replace(words, "[^aei]", ""))

    ids, begins = encode_words(split_words(["ab bc cae"]), Vowels(), 8)
    assert ids.to_list() == [[4, 3, 4, 8, 2]]
    assert begins.to_list() == [[True, True, True, False, False]]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: labeled_batches([], [], TOKENIZER), "Received: 0 texts, 0 labels"),
        (lambda: labeled_batches(["a"], [1, 2], TOKENIZER), "Received: 1 texts, 2 labels"),
        (lambda: labeled_batches(["a"], ["x"], TOKENIZER), "integers of at least 0. Received: 'x'"),
        (lambda: labeled_batches(["a"], [-1], TOKENIZER), "integers of at least 0. Received: -1"),
        (
            lambda: labeled_batches(["a"], [1], TOKENIZER, 0),
            "at least 1. Received: batch_size=0, max_length=128",
        ),
        (lambda: tagged_batches([], TOKENIZER), r"at least one pair .*Received: \[\]"),
        (lambda: tagged_batches([(["a"], [])], TOKENIZER), r"Received: \(\['a'\], \[\]\)"),
        (
            lambda: tagged_batches([(["a"], [0.5])], TOKENIZER),
            "integers of at least 0. Received: 0.5",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
