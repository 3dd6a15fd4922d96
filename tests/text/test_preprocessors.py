import numpy as np
import pytest

from keras_attention.text import CharacterTokenizer
from keras_attention.text.preprocessors import (
    PromptPreprocessor,
    TextPreprocessor,
    WordPreprocessor,
    random_texts,
)

pytestmark = pytest.mark.tensorflow_only
TOKENIZER = CharacterTokenizer.train(["abc "])
PREPROCESSOR = TextPreprocessor(TOKENIZER, max_length=20)


def test_samples_include_an_empty_text_and_one_too_long():
    first, second, empty, long = PREPROCESSOR.samples(["ab", "c"])
    assert (first, second, empty) == ("ab", "c", "")
    assert len(long) > 20 and set(long.split()) == {"ab", "c"}


@pytest.mark.parametrize("samples", [[], ["", " "]])
def test_samples_need_a_text(samples):
    with pytest.raises(ValueError, match="`samples` must contain at least one .* Received: "):
        PREPROCESSOR.samples(samples)


def test_random_texts_are_of_the_vocabulary():
    texts = random_texts(TOKENIZER)
    assert len(texts) == 8
    assert set("".join(texts)) == set("abc ")
    assert texts == random_texts(TOKENIZER) == PREPROCESSOR.samples(None)[:8]
    assert 1 <= min(map(len, texts)) < max(map(len, texts)) <= 16


def test_a_string_is_a_single_input():
    assert PREPROCESSOR.is_single("ab") and not PREPROCESSOR.is_single(["ab"])


def test_ids_end_and_are_padded():
    ids = PREPROCESSOR(["ab", ""]).model_inputs.numpy()
    assert ids.shape == (2, 3) and ids.dtype == np.int32
    assert ids[0, 2] == ids[1, 0] == 2 and not ids[1, 1:].any()


def test_an_empty_batch_and_an_empty_prompt_have_one_column():
    assert PREPROCESSOR([]).model_inputs.shape == (0, 1)
    assert PromptPreprocessor(TOKENIZER, 20)([""]).model_inputs.numpy().tolist() == [[0]]


def test_examples_give_the_same_batch():
    preprocessor = WordPreprocessor(TOKENIZER, max_length=8)
    texts = ["ab c", "cab"]
    direct = preprocessor(texts)
    padded = preprocessor.pad_examples(preprocessor.encode_examples(texts))
    length = direct.model_inputs.shape[1]
    np.testing.assert_array_equal(padded.model_inputs[:, :length], direct.model_inputs)
    np.testing.assert_array_equal(padded.word_starts[:, :length], direct.word_starts)
    assert [row.tolist() for row in padded.words] == direct.words.to_list()
