"""Classifier and tagger: Keras, SavedModel and TFLite return the same."""

import json
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from keras_attention.export import ExportError, verify
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.models import seq2seq
from keras_attention.tasks import TextClassifier, load_exported
from keras_attention.utils.manifest import read_manifest

pytestmark = pytest.mark.slow

LABELS = ["eins", "zwei", "größer"]
SAMPLES = ["a", "bcade", "deed abba", "äx", "cab cab cab cab"]
KINDS = ("label", "tags")


@pytest.fixture(scope="module")
def make(make_labeler):
    return partial(make_labeler, labels=LABELS)


@pytest.fixture(scope="module", params=KINDS)
def exported(make, request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    task = make(request.param)
    formats = {"saved_model": folder / "serving", "tflite": folder / "phone"}
    reports = {name: task.export(path, name, SAMPLES) for name, path in formats.items()}
    return task, folder, reports


def assert_close(results, expected):
    """Checks that names are equal and numbers close."""
    assert len(results) == len(expected)
    for ours, theirs in zip(results, expected, strict=True):
        assert [each[:-1] for each in ours] == [each[:-1] for each in theirs]
        np.testing.assert_allclose(
            [each[-1] for each in ours], [each[-1] for each in theirs], rtol=1e-4, atol=1e-6
        )


def test_loaded_exports_return_what_the_task_returns(exported):
    task, folder, _ = exported
    texts = ["bca", "", "x ab", "deed cab", "a" * 40]
    method = "classify" if isinstance(task, TextClassifier) else "tag"
    with pytest.warns(UserWarning, match="1 of 5 texts"):
        expected = getattr(task, method)(texts)
    assert len({each[0] for each in expected if each}) > 1
    with pytest.warns(UserWarning, match="1 of 5 texts"):
        assert_close(
            getattr(load_exported(folder / "phone"), method)(texts, batch_size=2), expected
        )
    served = load_exported(folder / "serving")
    assert_close(getattr(served, method)(texts, batch_size=2), expected)
    called = served("bca")
    if method == "classify":
        assert called == expected[0][0].label
    else:
        assert [tag[:2] for tag in called] == [tag[:2] for tag in expected[0]]
    assert served([]) == []


def test_reports_describe_the_comparison(exported):
    task, folder, reports = exported
    texts = len(SAMPLES) + 2  # an empty one and one that is too long
    for name, path in (("saved_model", "serving/1"), ("tflite", "phone")):
        report = reports[name]
        written = read_manifest(folder / path / "verification.json")
        assert written == {key: value for key, value in report.items() if key != "path"}
        assert report["labels"] == LABELS and report["task"] == type(task).__name__
        agreement = report["agreement"]
        assert agreement["equal"] == agreement["compared"] >= 2 * texts
        assert agreement["max_score_difference"] < 1e-5
        assert "max_attention_difference" not in agreement
        again = verify(folder / path)["agreement"]
        assert again["equal"] == again["compared"] >= texts
    if isinstance(task, TextClassifier):
        assert agreement["compared"] == 2 * texts  # alone and together


def test_weights_are_written_once(exported):
    task, folder, _ = exported
    written = tf.train.list_variables(str(folder / "serving" / "1" / "variables" / "variables"))
    counts = [np.prod(shape) for name, shape in written if "VARIABLE_VALUE" in name]
    assert sum(counts) == task.model.count_params()


def test_signatures(exported):
    task, folder, _ = exported
    signatures = tf.saved_model.load(str(folder / "serving" / "1")).signatures
    texts = tf.constant(["bca x", ""])
    best, details = (signatures[name](text=texts) for name in ("serving_default", "details"))
    shapes = {name: tuple(x.shape) for name, x in {**best, **details}.items()}
    if isinstance(task, TextClassifier):
        assert {name: tuple(x.shape) for name, x in best.items()} == {
            "label": (2,),
            "probability": (2,),
        }
        assert shapes == {"label": (2, 3), "probability": (2, 3), "source_tokens": (2, 6)}
        tokens = [b"b", b"c", b"a", "▁".encode(), b"[UNK]", b"[END]"]
        expected = task.classify(["bca x"])[0]
        assert [x.decode() for x in details["label"].numpy()[0]] == [a for a, _ in expected]
    else:
        assert {name: tuple(x.shape) for name, x in best.items()} == dict.fromkeys(
            ("word", "tag", "probability"), (2, 2)
        )
        assert best["word"].numpy().tolist() == [[b"bca", b"x"], [b"", b""]]
        assert best["tag"].numpy()[1].tolist() == [b"", b""]
        assert shapes["tag"] == shapes["probability"] == (2, 5, 3)
        assert details["begins_word"].numpy()[0].tolist() == [True, False, False, True, False]
        tokens = [b"b", b"c", b"a", b"[UNK]", b"[END]"]
    assert details["source_tokens"].numpy()[0].tolist() == tokens
    empty = signatures["details"](text=tf.constant([], tf.string))
    assert empty["probability"].shape[0] == 0


def test_a_tflite_file_takes_any_batch_and_length(exported):
    task, folder, _ = exported
    runner = TFLiteRunner(folder / "phone")
    about = json.loads((folder / "phone" / "export.json").read_text(encoding="utf-8"))
    assert about["labels"] == LABELS and about["max_source_length"] == 12
    for batch, length in ((1, 1), (3, 7), (2, 12)):
        ids = np.random.default_rng(0).integers(0, 11, (batch, length))
        np.testing.assert_allclose(
            runner(ids)["probabilities"], task.runner(ids)["probabilities"], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("kind", KINDS)
def test_disagreement_deletes_the_export(make, kind, tmp_path, different_model):
    task, other = make(kind), make(kind, seed=5)
    message = r"(?s)must return what the model returns for .*Received: '"
    for name in ("saved_model", "tflite"):
        with different_model(other), pytest.raises(ExportError, match=message):
            task.export(tmp_path / "new", name, SAMPLES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_without_tokenizer(make, kind, tmp_path):
    task = make(kind)
    report = task.export(tmp_path, "saved_model", SAMPLES, tokenizer=False)
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    assert report["tensorflow_text_operations"] == []
    assert sorted(tf.saved_model.load(report["path"]).signatures) == ["ids", "serving_default"]
    method = "classify" if kind == "label" else "tag"
    texts = ["bca", "", "deed cab"]
    assert_close(getattr(load_exported(tmp_path), method)(texts), getattr(task, method)(texts))


OTHERS = {
    "rotary, first": {"positions": "rotary", "pooling": "first"},
    "relative, attention": {"positions": "relative", "pooling": "attention"},
    "gated, windows": {"activation": "geglu", "window": 3, "norm_kind": "rms"},
}


@pytest.mark.slow(cases=2)
@pytest.mark.parametrize("options", [*OTHERS.values(), None], ids=[*OTHERS, "an RNN"])
def test_other_models(make, options, tmp_path):
    task = make("label", **(options or {"encoder": seq2seq(11, 12, 8, 8).encoder}))
    for name in ("saved_model", "tflite"):
        agreement = task.export(tmp_path / name, name, SAMPLES)["agreement"]
        assert agreement["equal"] == agreement["compared"]
