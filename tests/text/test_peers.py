"""Tests of the tokenizers against KerasHub's with the same vocabulary."""

import keras_hub
import numpy as np
import pytest

from keras_attention.text import SentencePieceTokenizer, WordPieceTokenizer

LINES = ["ein hund läuft durch das gras .", "zwei hunde laufen", "das gras ist grün", "ein gras"]
TEXTS = ["ein hund ist grün .", "zwei gräser", "", "das (gras) läuft"]


@pytest.fixture(scope="module")
def pieces():
    return SentencePieceTokenizer.train(LINES, vocabulary_size=40, model_type="bpe")


def test_wordpiece_splits_as_keras_hub_does():
    ours = WordPieceTokenizer.train(LINES, vocabulary_size=60)
    theirs = keras_hub.tokenizers.WordPieceTokenizer(
        ours.vocabulary, lowercase=False, oov_token="[UNK]"
    )
    for text in TEXTS:
        expected = np.array(theirs(text)).tolist()
        assert ours.tokenize([text])[0].numpy().tolist() == expected


def test_sentencepiece_splits_as_keras_hub_does(pieces, tmp_path):
    pieces.save(tmp_path)
    theirs = keras_hub.tokenizers.SentencePieceTokenizer(str(tmp_path / pieces.vocabulary_file))
    for text in TEXTS:
        expected = np.array(theirs(text)).tolist()
        assert pieces.tokenize([text])[0].numpy().tolist() == expected
        assert pieces.detokenize([expected or [0]])[0] == theirs.detokenize(expected or [0])
