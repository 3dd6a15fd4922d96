"""TextClassifier and TextTagger: text to labels and tags, saving and loading."""

import json
from functools import partial

import numpy as np
import pytest
from keras import ops

from keras_attention.models import classifier, seq2seq
from keras_attention.tasks import TextClassifier, TextTagger
from keras_attention.text import CharacterTokenizer

TEXTS = ["abc", "", "cab bac cab", "b", "x"]
LABELS = ["left", "right", "länger"]
KINDS = ("label", "tags")


@pytest.fixture(scope="module")
def make(make_labeler):
    return partial(make_labeler, labels=LABELS, letters="abc ", num_layers=1)


@pytest.fixture(scope="module")
def labels(make):
    return make("label")


@pytest.fixture(scope="module")
def tags(make):
    return make("tags")


def probabilities(model, ids):
    logits = ops.convert_to_numpy(model(ids)).astype("float64")
    exps = np.exp(logits - logits.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def test_it_tokenizes_and_applies_model_and_softmax(labels):
    (expected,) = probabilities(labels.model, labels.source_tokenizer.encode(["cab"]))
    (result,) = labels.classify(["cab"])
    assert [label for label, _ in result] == [LABELS[i] for i in np.argsort(-expected)]
    np.testing.assert_allclose([p for _, p in result], -np.sort(-expected), rtol=1e-5)
    assert labels("cab") == result[0].label


def test_a_word_has_the_tag_of_its_first_token(tags):
    ids = tags.source_tokenizer.encode(["abca"]).numpy()  # "ab", "ca", END
    (expected,) = probabilities(tags.model, ids)
    result = tags(" ab\t ca ")
    assert [tag.word for tag in result] == ["ab", "ca"]
    assert [tag.tag for tag in result] == [LABELS[expected[place].argmax()] for place in (0, 2)]
    np.testing.assert_allclose(
        [tag.probability for tag in result], expected[[0, 2]].max(-1), rtol=1e-5
    )


def test_a_string_or_a_list(labels, tags):
    results = labels(TEXTS)
    assert len(set(results)) > 1 and [labels(text) for text in TEXTS] == results
    assert labels([]) == labels.classify([]) == tags([]) == tags.tag([]) == []
    tagged = tags(tuple(TEXTS))
    assert [[tag.word for tag in each] for each in tagged] == [text.split() for text in TEXTS]
    for text, each in zip(TEXTS, tagged, strict=True):
        alone = tags(text)
        assert [tag[:2] for tag in alone] == [tag[:2] for tag in each]
        np.testing.assert_allclose([t[2] for t in alone], [t[2] for t in each], rtol=1e-4)
    for call in (labels.classify, tags.tag):
        with pytest.raises(ValueError, match="`texts` must be a list. Received: 'abc'"):
            call("abc")


def test_batch_size_changes_neither_results_nor_order(labels):
    for batch_size in (1, 4):
        results = labels.classify(TEXTS * 2, batch_size=batch_size)
        assert [result[0].label for result in results] == labels(TEXTS) * 2


def test_long_texts_are_truncated_with_a_warning(labels, tags):
    with pytest.warns(UserWarning, match="1 of 2 texts have more than 11 tokens"):
        assert labels(["abc" * 5, "a"]) == labels([("abc" * 5)[:11], "a"])
    with pytest.warns(UserWarning, match="1 of 1 texts have more than 11 tokens"):
        result = tags("aaaaa bbbbb ccccc aaaaa")
    assert [tag.word for tag in result] == ["aaaaa", "bbbbb", "ccccc"]


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(make, kind, tmp_path):
    task = make(kind)
    task.save(tmp_path / "task")
    assert sorted(path.name for path in (tmp_path / "task").iterdir()) == [
        "model.keras", "source", "task.json"
    ]  # fmt: skip
    loaded = type(task).load(tmp_path / "task")
    assert loaded(TEXTS) == task(TEXTS)
    assert (loaded.labels, loaded.max_source_length) == (LABELS, 12)
    config = json.loads((tmp_path / "task" / "task.json").read_text(encoding="utf-8"))
    assert config["labels"] == LABELS
    (other,) = {TextClassifier, TextTagger} - {type(task)}
    with pytest.raises(ValueError, match=f"must hold a {other.__name__} .*format 2. Received: "):
        other.load(tmp_path / "task")


def test_the_task_uses_the_current_weights(make, labels):
    task = make("label")
    before = task.classify(["cab"])
    task.model.head.dense.bias.assign([9.0, 0.0, 0.0])
    (after,) = task.classify(["cab"])
    assert after != before[0] and after[0].label == "left" and after[0].probability > 0.9


def test_an_rnn_encoder():
    letters = CharacterTokenizer.train(["abc "])
    encoder = seq2seq(letters.vocabulary_size, 9, 8, 8).encoder
    model = classifier(letters.vocabulary_size, 2, encoder=encoder)
    task = TextClassifier(model, letters, ["a", "b"])
    (expected,) = probabilities(model, letters.encode(["cab"]))
    np.testing.assert_allclose(task.classify(["cab"])[0][0].probability, expected.max(), rtol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"labels": ["a", "b", "a"]},
            r"must be different strings. Received: labels=\['a', 'b', 'a'\]",
        ),
        (
            {"labels": ["a", "b"]},
            r"logits of shape \(None, 2\) for 2 labels. Received: \(None, 3\)",
        ),
        ({"model": "tags"}, r"logits of shape \(None, 3\) .*Received: \(None, None, 3\)"),
        (
            {"source_tokenizer": CharacterTokenizer.train(["a"])},
            "model's 8 tokens. Received: 5 tokens",
        ),
    ],
)
def test_parts_that_do_not_fit_raise(labels, tags, change, message):
    parts = {"model": labels.model, "source_tokenizer": labels.source_tokenizer, "labels": LABELS}
    change = {**change, "model": tags.model} if "model" in change else change
    with pytest.raises(ValueError, match=message):
        TextClassifier(**{**parts, **change})
