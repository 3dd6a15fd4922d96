import numpy as np
import pytest

from keras_attention.export import TokensToTokens
from keras_attention.export.texts import some_texts
from keras_attention.text import CharacterTokenizer

LETTERS = CharacterTokenizer.train(["abc "])
KIND = TokensToTokens(LETTERS, LETTERS, max_source_length=20)


def test_trials_hold_an_empty_text_and_one_too_long():
    first, second, empty, long = KIND.trials(["ab", "c"])
    assert (first, second, empty) == ("ab", "c", "")
    assert len(long) > 20 and set(long.split()) == {"ab", "c"}


@pytest.mark.parametrize("sentences", [[], ["", " "]])
def test_a_sentence_is_needed(sentences):
    with pytest.raises(ValueError, match="sentences: expected at least one .* Received: "):
        KIND.trials(sentences)


def test_some_texts_are_of_the_vocabulary():
    texts = some_texts(LETTERS)
    assert len(texts) == 8
    assert set("".join(texts)) == set("abc ")
    assert texts == some_texts(LETTERS) == KIND.trials(None)[:8]
    assert 1 <= min(map(len, texts)) < max(map(len, texts)) <= 16


def test_one_text_is_no_list():
    with pytest.raises(ValueError, match="texts: expected a list of them. Received: 'ab'"):
        KIND.generate("ab")


def test_encode_pads_and_ends():
    ids = KIND.encode(["ab", ""])
    assert ids.shape == (2, 3) and ids.dtype == np.int32
    assert ids[0, 2] == ids[1, 0] == 2 and not ids[1, 1:].any()
