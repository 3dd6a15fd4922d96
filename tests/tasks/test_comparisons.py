"""Metrics of the results of tasks."""

import pytest

from keras_attention.tasks.comparisons import LabelComparison, TagComparison, TextComparison
from keras_attention.text import CharacterTokenizer
from keras_attention.text.postprocessors import (
    LabelPostprocessor,
    TagPostprocessor,
    TextPostprocessor,
)

pytestmark = pytest.mark.tensorflow_only


def test_metric_of_texts():
    comparison = TextComparison(TextPostprocessor(CharacterTokenizer.train(["abc"])))
    references = ["a b c d e", ["x y z v w", "a dog runs in the park"]]
    scores = comparison.metric(["a b c d e", "a dog runs in the park"], references)
    assert scores == {"exact_match": 100.0, "bleu": pytest.approx(100.0)}
    scores = comparison.metric(["a b c d e", "the cat sat"], references)
    assert scores["exact_match"] == 50.0 and scores["bleu"] < 100


def test_metric_of_labels():
    comparison = LabelComparison(LabelPostprocessor(["a", "b"]))
    scores = comparison.metric(["a", "b", "b"], ["a", "b", "a"])
    assert scores["accuracy"] == pytest.approx(200 / 3)


def test_words_without_a_tag_are_not_correct():
    comparison = TagComparison(TagPostprocessor(["n", "v"]))
    assert comparison.metric([["n"], ["v"]], [["n", "v", "v"], ["v"]]) == {"accuracy": 50.0}
