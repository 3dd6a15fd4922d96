"""Text in, a label or tags out, and what is kept of it on disk."""

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


def test_it_is_tokenizer_model_and_softmax(labels):
    (expected,) = probabilities(labels.model, labels.source_tokenizer.encode(["cab"]))
    (found,) = labels.classify(["cab"])
    assert [label for label, _ in found] == [LABELS[i] for i in np.argsort(-expected)]
    np.testing.assert_allclose([p for _, p in found], -np.sort(-expected), rtol=1e-5)
    assert labels("cab") == found[0].label


def test_a_word_has_the_tag_of_its_first_token(tags):
    ids = tags.source_tokenizer.encode(["abca"]).numpy()  # "ab", "ca", END
    (expected,) = probabilities(tags.model, ids)
    found = tags(" ab\t ca ")
    assert [tag.word for tag in found] == ["ab", "ca"]
    assert [tag.tag for tag in found] == [LABELS[expected[place].argmax()] for place in (0, 2)]
    np.testing.assert_allclose(
        [tag.probability for tag in found], expected[[0, 2]].max(-1), rtol=1e-5
    )


def test_a_string_or_a_list(labels, tags):
    found = labels(TEXTS)
    assert len(set(found)) > 1 and [labels(text) for text in TEXTS] == found
    assert labels([]) == labels.classify([]) == tags([]) == tags.tag([]) == []
    tagged = tags(tuple(TEXTS))
    assert [[tag.word for tag in each] for each in tagged] == [text.split() for text in TEXTS]
    for text, each in zip(TEXTS, tagged, strict=True):
        alone = tags(text)
        assert [tag[:2] for tag in alone] == [tag[:2] for tag in each]
        np.testing.assert_allclose([t[2] for t in alone], [t[2] for t in each], rtol=1e-4)
    for call in (labels.classify, tags.tag):
        with pytest.raises(ValueError, match="texts: expected a list .* Received: 'abc'"):
            call("abc")


def test_batches_change_nothing_and_keep_the_order(labels):
    for batch_size in (1, 4):
        got = labels.classify(TEXTS * 2, batch_size=batch_size)
        assert [found[0].label for found in got] == labels(TEXTS) * 2


def test_long_texts_are_cut_with_a_warning_that_counts(labels, tags):
    with pytest.warns(UserWarning, match="1 of 2 texts have more than 11 tokens"):
        assert labels(["abc" * 5, "a"]) == labels([("abc" * 5)[:11], "a"])
    with pytest.warns(UserWarning, match="1 of 1 texts have more than 11 tokens"):
        found = tags("aaaaa bbbbb ccccc aaaaa")
    assert [tag.word for tag in found] == ["aaaaa", "bbbbb", "ccccc"]


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
    said = json.loads((tmp_path / "task" / "task.json").read_text(encoding="utf-8"))
    assert said["labels"] == LABELS
    (other,) = {TextClassifier, TextTagger} - {type(task)}
    with pytest.raises(ValueError, match=f"expected a {other.__name__} .*format 1. Received: "):
        other.load(tmp_path / "task")


def test_the_weights_of_now(make, labels):
    task = make("label")
    before = task.classify(["cab"])
    task.model.head.dense.bias.assign([9.0, 0.0, 0.0])
    (after,) = task.classify(["cab"])
    assert after != before[0] and after[0].label == "left" and after[0].probability > 0.9


def test_an_rnn_reads_too():
    letters = CharacterTokenizer.train(["abc "])
    encoder = seq2seq(letters.vocabulary_size, 9, 8, 8).encoder
    model = classifier(letters.vocabulary_size, 2, encoder=encoder)
    task = TextClassifier(model, letters, ["a", "b"])
    (expected,) = probabilities(model, letters.encode(["cab"]))
    np.testing.assert_allclose(task.classify(["cab"])[0][0].probability, expected.max(), rtol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": ["a", "b", "a"]}, r"different strings. Received: labels=\['a', 'b', 'a'\]"),
        ({"labels": ["a", "b"]}, r"logits \(None, 2\) for 2 labels. Received: \(None, 3\)"),
        ({"model": "tags"}, r"logits \(None, 3\) .*Received: \(None, None, 3\)"),
        (
            {"source_tokenizer": CharacterTokenizer.train(["a"])},
            "model's 8 tokens. Received: 5 tokens",
        ),
    ],
)
def test_parts_that_do_not_go(labels, tags, change, message):
    parts = {"model": labels.model, "source_tokenizer": labels.source_tokenizer, "labels": LABELS}
    change = {**change, "model": tags.model} if "model" in change else change
    with pytest.raises(ValueError, match=message):
        TextClassifier(**{**parts, **change})
