import numpy as np
import pytest

from keras_attention.export.proof import ExportError, Output, batches_of, compare, some_sentences
from keras_attention.text import Characters


def output(tokens, score=-2.0, attention=0.5, text="ab"):
    """One text's one answer of two tokens over three source positions."""
    looked = np.full((1, 1, 2, 3), attention)
    return Output([[text]], np.array([[tokens]]), np.array([[score]]), looked)


def test_agreement_is_counted_and_measured():
    said = compare([output([4, 5])], [output([4, 5], score=-2.0001, attention=0.5002)], [["x"]])
    assert (said["answers"], said["equal"], said["ties"]) == (1, 1, 0)
    assert said["max_score_difference"] == pytest.approx(1e-4)
    assert said["max_attention_difference"] == pytest.approx(2e-4)


def test_equal_scores_are_a_tie():
    said = compare([output([4, 5])], [output([5, 4], score=-2.0001, text="ba")], [["x"]])
    assert (said["answers"], said["equal"], said["ties"]) == (1, 0, 1)


@pytest.mark.parametrize(
    "received",
    [
        output([5, 4], score=-2.01, text="ba"),
        output([4, 5], score=-2.01),
        output([4, 5], score=float("nan")),
        output([4, 5], attention=0.6),
        output([4, 5], attention=float("nan")),
    ],
    ids=["other tokens", "other score", "no score", "looks elsewhere", "looks nowhere"],
)
def test_disagreement_is_an_error(received):
    with pytest.raises(ExportError, match=r"answer to 'x': 'ab' with score -2.0.* Received: '"):
        compare([output([4, 5])], [received], [["x"]])


def test_another_shape_is_an_error():
    with pytest.raises(ExportError, match=r"shape \(1, 1, 2\) to \['x'\]. Received: \(1, 1, 3\)"):
        compare([output([4, 5])], [output([4, 5, 6])], [["x"]])


class Task:
    source_tokenizer = Characters.train(["abc "])
    max_source_length = 20


def test_batches_hold_an_empty_text_and_one_too_long():
    batches = batches_of(Task, ["ab", "c"])
    assert batches[:3] == [["ab"], ["c"], [""]]
    assert len(batches[3][0]) > 20
    assert batches[4] == [batch[0] for batch in batches[:4]]
    assert [len(batch) for batch in batches_of(Task, ["a"] * 9)] == [1] * 11 + [8, 3]


@pytest.mark.parametrize("sentences", [[], ["", " "]])
def test_a_sentence_is_needed(sentences):
    with pytest.raises(ValueError, match="sentences: expected at least one .* Received: "):
        batches_of(Task, sentences)


def test_some_sentences_are_of_the_vocabulary():
    texts = some_sentences(Task.source_tokenizer)
    assert len(texts) == 8
    assert set("".join(texts)) == set("abc ")
    assert texts == some_sentences(Task.source_tokenizer)
    assert 1 <= min(map(len, texts)) < max(map(len, texts)) <= 16
