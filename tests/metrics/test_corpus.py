"""Tests of BLEU and chrF against sacrebleu's published example and sacrebleu itself."""

import pytest
import sacrebleu

from keras_attention.metrics import bleu, caption_scores, chrf, corpus_scores

# Example from sacrebleu's README.
HYPOTHESES = [
    "The dog bit the man.",
    "It wasn't surprising.",
    "The man had just bitten him.",
]
FIRST = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
SECOND = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]
BOTH = list(zip(FIRST, SECOND, strict=True))


def test_published_example():
    score = bleu(HYPOTHESES, BOTH)
    assert round(score.score, 2) == 48.53
    version = sacrebleu.__version__
    assert score.signature == f"nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}"
    score = chrf(HYPOTHESES, BOTH)
    assert round(score.score, 2) == 59.73
    assert score.signature == f"nrefs:2|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}"


def test_single_reference():
    scores = corpus_scores(HYPOTHESES, FIRST)
    assert scores["bleu"].score == sacrebleu.corpus_bleu(HYPOTHESES, [FIRST]).score
    assert scores["chrf"].score == sacrebleu.corpus_chrf(HYPOTHESES, [FIRST]).score
    assert "nrefs:1" in scores["bleu"].signature


def test_sentences_may_have_different_numbers_of_references():
    references = [BOTH[0], BOTH[1][:1], BOTH[2]]
    streams = [FIRST, [SECOND[0], None, SECOND[2]]]
    score = bleu(HYPOTHESES, references)
    assert score.score == sacrebleu.corpus_bleu(HYPOTHESES, streams).score
    assert "nrefs:var" in score.signature


def test_tokenize_and_lowercase():
    hypotheses, references = ["A man , a dog ."], ["a man, a dog."]
    scores = corpus_scores(hypotheses, references, tokenize="none", lowercase=True)
    expected = sacrebleu.corpus_bleu(
        hypotheses, [references], tokenize="none", lowercase=True, force=True
    )
    assert scores["bleu"].score == expected.score < 50
    assert "case:lc" in scores["bleu"].signature and "tok:none" in scores["bleu"].signature
    assert "case:lc" in scores["chrf"].signature
    assert bleu(hypotheses, references, lowercase=True).score == pytest.approx(100)
    assert bleu(hypotheses, references).score < 100


@pytest.mark.parametrize(
    ("hypotheses", "references", "received"),
    [
        ([], [], "0 hypotheses, 0 references"),
        (["a"], ["a", "b"], "1 hypotheses, 2 references"),
        (["a", "b"], [["a"], []], r"Received: references\[1\]=\[\]"),
    ],
)
def test_errors(hypotheses, references, received):
    with pytest.raises(ValueError, match=received):
        corpus_scores(hypotheses, references)


def test_unknown_tokenize():
    with pytest.raises(ValueError, match="13a.*Received: tokenize='moses'"):
        bleu(["a"], ["a"], tokenize="moses")


def test_empty_hypothesis_scores_zero():
    assert corpus_scores([""], ["a dog"])["bleu"].score == 0


@pytest.mark.parametrize("score", [bleu, chrf, corpus_scores, caption_scores])
@pytest.mark.parametrize(
    "hypotheses, references",
    [("hi", ["h", "i"]), (["h", "i"], "hi"), ("hi", "hi"), (["hi"], [b"hi"]), (["hi"], [[["hi"]]])],
)
def test_one_string_is_not_a_list_of_letters(score, hypotheses, references):
    with pytest.raises((ValueError, TypeError), match="must be a list of strings"):
        score(hypotheses, references)
