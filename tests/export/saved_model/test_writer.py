"""The SavedModel writer: layout, report, signatures, and what remains after a failure."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from helpers import model_inputs
from keras_attention.export import ExportError, verify
from keras_attention.export.saved_model import writer
from keras_attention.export.saved_model.c_api import Session
from keras_attention.export.saved_model.verify import verify_saved_model
from keras_attention.generation import GreedySearch
from keras_attention.models import seq2seq
from keras_attention.tasks import Translator, load_exported
from keras_attention.tasks.export import exportable
from keras_attention.text import SentencePieceTokenizer, WordPieceTokenizer
from keras_attention.utils.manifest import read_manifest

BESIDE = ["batching.config", "model.config", "serving.md"]


def test_layout_is_that_of_tf_serving(saved_model):
    folder, report = saved_model
    assert sorted(path.name for path in folder.iterdir()) == ["1", *BESIDE]
    assert report["path"] == str(folder / "1")
    assert (folder / "1" / "saved_model.pb").is_file()


def test_report_describes_the_comparison(saved_model, samples):
    folder, report = saved_model
    written = read_manifest(folder / "1" / "verification.json")
    assert written == {name: value for name, value in report.items() if name != "path"}
    count = len(samples) + 2  # an empty text and one that is too long
    assert report["batch_sizes"] == [1] * count + [count]
    assert report["agreement"]["compared"] == 2 * 2 * count  # two hypotheses, alone and together
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    assert report["agreement"]["max_score_difference"] < 1e-5
    assert report["agreement"]["max_attention_difference"] < 1e-5
    assert {name: report["ids_agreement"][name] for name in ("compared", "equal", "ties")} == {
        name: report["agreement"][name] for name in ("compared", "equal", "ties")
    }
    assert report["runtime"] == "TensorFlow's C API with TensorFlow Text's operations"
    assert "SentencepieceTokenizeOp" in report["tensorflow_text_operations"]
    assert report["median_milliseconds"]["export"] > 0
    assert report["bytes"]["saved_model.pb"] == (folder / "1" / "saved_model.pb").stat().st_size


def test_weights_are_written_once(saved_model, translator):
    variables = str(saved_model.folder / "1" / "variables" / "variables")
    written = tf.train.list_variables(variables)
    counts = [np.prod(shape) for name, shape in written if "VARIABLE_VALUE" in name]
    assert sum(counts) == translator.model.count_params()


def test_signatures_return_what_the_task_returns(saved_model, translator):
    signatures = tf.saved_model.load(str(saved_model.folder / "1")).signatures
    best = signatures["serving_default"](text=tf.constant(["bca", ""]))
    expected = translator.generate(["bca", ""])
    assert [text.decode() for text in best["text"].numpy()] == [row[0].text for row in expected]
    np.testing.assert_allclose(best["score"], [row[0].score for row in expected], rtol=1e-5)

    details = signatures["details"](text=tf.constant(["bca", ""]))
    assert details["text"].shape == (2, 2)
    assert details["source_tokens"].numpy().tolist() == [
        [b"b", b"c", b"a", b"[END]"],
        [b"[END]", b"", b"", b""],
    ]
    alignment = translator.attention("bca")
    tokens = [token.decode() for token in details["target_tokens"].numpy()[0, 0] if token]
    assert tokens == alignment.target
    attention = details["attention"].numpy()[0, 0, : len(tokens)]
    np.testing.assert_allclose(attention, alignment.weights, atol=1e-5)


def test_signatures_of_ids_return_what_the_model_returns(saved_model, translator):
    source = model_inputs(translator, ["bca", "deed abba"])
    expected = translator.runner(source, details=True)
    with Session(saved_model.folder / "1") as session:
        details = session.run("ids_details", {"source": source})
        best = session.run("ids", {"source": source.tolist()})
    assert set(details) == set(expected) and set(best) == {"ids", "scores"}
    np.testing.assert_array_equal(details["ids"], expected["ids"])
    np.testing.assert_array_equal(best["ids"], expected["ids"])
    for name in ("scores", "attention"):
        np.testing.assert_allclose(details[name], expected[name], atol=1e-5)


@pytest.mark.slow
def test_without_tokenizer_all_operations_are_tensorflows_own(translator, samples, tmp_path):
    report = translator.export(tmp_path / "small", "saved_model", samples, tokenizer=False)
    assert report["tensorflow_text_operations"] == []
    assert report["runtime"] == "TensorFlow's C API without TensorFlow Text's operations"
    assert report["agreement"]["equal"] == report["agreement"]["compared"] == 28
    assert report["median_milliseconds"]["export"] > 0
    signatures = tf.saved_model.load(report["path"]).signatures
    names = ["ids", "ids_details", "ids_with_options", "serving_default"]  # the first, again
    assert sorted(signatures) == names
    texts = ["bca", "", "deed cab"]
    assert load_exported(tmp_path / "small")(texts) == translator(texts)
    agreement = verify(tmp_path / "small")["agreement"]
    assert agreement["equal"] == agreement["compared"] == len(samples) + 2
    page = (tmp_path / "small" / "serving.md").read_text(encoding="utf-8")
    assert "The graph contains only TensorFlow's core operations" in page


def test_text_operations_need_their_libraries(saved_model, translator):
    signatures = translator.signatures(tokenizer=False)
    by_ids = exportable(translator, signatures, ["ab"])
    with pytest.raises(ExportError, match="(?s)Received: exit status 1.*not registered"):
        verify_saved_model(by_ids, saved_model.folder / "1", [["ab"]])


def test_damaged_weights_are_an_error_that_names_the_folder(saved_model, translator, tmp_path):
    version = shutil.copytree(saved_model.folder / "1", tmp_path / "1")
    (weights,) = version.glob("variables/variables.data-*")
    weights.write_bytes(weights.read_bytes()[:1000])
    by_ids = exportable(translator, translator.signatures(tokenizer=False), ["ab"])
    message = rf"{re.escape(str(version))} must run .* Received: exit status 1, \w+Error: .*Restore"
    with pytest.raises(ExportError, match=message):
        verify_saved_model(by_ids, version, [["ab"]])


def test_empty_batch(saved_model):
    signatures = tf.saved_model.load(str(saved_model.folder / "1")).signatures
    best = signatures["serving_default"](text=tf.constant([], tf.string))
    assert best["text"].shape == best["score"].shape == (0,)
    assert signatures["details"](text=tf.constant([], tf.string))["text"].shape == (0, 2)


@pytest.mark.slow
def test_next_version_is_added(make_labeler, tmp_path, monkeypatch):
    folder, seen, write = tmp_path / "small", [], writer.write_saved_model
    for version in ("1", "7"):
        (folder / version).mkdir(parents=True)

    def spy(exported, version):
        seen.extend(path.name for path in folder.iterdir() if path.name.isdecimal())
        assert not version.name.isdecimal() and not version.parent.name.isdecimal()
        write(exported, version)

    monkeypatch.setattr(writer, "write_saved_model", spy)
    report = make_labeler("label", ["a", "b"]).export(folder, "saved_model", ["ab"])
    assert sorted(seen) == ["1", "7"]  # an unfinished version has no number
    assert report["path"] == str(folder / "8")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "7", "8", *BESIDE]


def test_a_failure_leaves_earlier_versions(translator, tmp_path, monkeypatch):
    (tmp_path / "small" / "1").mkdir(parents=True)

    def fail(exported, folder):
        (folder / "saved_model.pb").write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(writer, "write_saved_model", fail)
    with pytest.raises(OSError, match="no space left"):
        translator.export(tmp_path / "small", "saved_model", ["abc", "de"])
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "small",
        "small/1",
    ]


@pytest.mark.slow(cases=1)
@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_other_tokenizers(tmp_path, kind):
    lines = ["ein hund läuft", "zwei hunde laufen .", "ein kleiner hund schläft"]
    if kind == "wordpiece":
        tokenizer = WordPieceTokenizer.train(lines, 60, lowercase=True)
    else:
        tokenizer = SentencePieceTokenizer.train(lines, 40, model_type="bpe")
    model = seq2seq(tokenizer.vocabulary_size, tokenizer.vocabulary_size, 8, 8)
    task = Translator(model, tokenizer, tokenizer, GreedySearch(9), 16)
    report = task.export(tmp_path / "small", "saved_model", lines)
    assert report["agreement"]["equal"] == report["agreement"]["compared"] == 10
    texts = ["hunde", "Ein Hund", "", "日本"]
    signature = tf.saved_model.load(report["path"]).signatures["serving_default"]
    served = [text.decode() for text in signature(text=tf.constant(texts))["text"].numpy()]
    assert load_exported(tmp_path / "small")(texts) == task(texts) == served


def test_a_file_raises(translator, tmp_path):
    (tmp_path / "small").write_text("mine")
    with pytest.raises(ValueError, match="folder.* Received: "):
        translator.export(tmp_path / "small", "saved_model", ["ab"])
    assert (tmp_path / "small").read_text() == "mine"


def test_the_folder_of_a_saved_task_raises(translator, tmp_path):
    (tmp_path / "task.json").write_text("{}")
    with pytest.raises(ValueError, match="base path.* Received: .*task"):
        translator.export(tmp_path, "saved_model", ["ab"])
    assert [path.name for path in tmp_path.iterdir()] == ["task.json"]


def test_another_backend_raises(monkeypatch, translator, tmp_path):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(ValueError, match="Received: KERAS_BACKEND=jax"):
        translator.export(tmp_path / "small")


def test_an_unknown_format_raises(translator, tmp_path):
    with pytest.raises(ValueError, match="Received: format='coreml'"):
        translator.export(tmp_path / "small", "coreml")
