"""The TFLite writer: files, report, and what remains after a failure."""

import shutil

import keras
import pytest

from keras_attention.export import ExportError
from keras_attention.export.tflite import writer
from keras_attention.export.tflite.flatbuffer import read_model
from keras_attention.generation import GreedySearch
from keras_attention.tasks import load_exported
from keras_attention.utils.manifest import read_manifest


def test_folder(tflite):
    folder, report = tflite
    assert sorted(path.name for path in folder.iterdir()) == [
        "export.json",
        "model.tflite",
        "samples.json",
        "source",
        "target",
        "verification.json",
    ]
    assert report["path"] == str(folder)


def test_report_describes_the_comparison(tflite, samples):
    folder, report = tflite
    written = read_manifest(folder / "verification.json")
    assert written == {name: value for name, value in report.items() if name != "path"}
    assert report["agreement"]["compared"] == 4 * (len(samples) + 2)
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    assert report["agreement"]["max_score_difference"] < 1e-5
    assert report["runtime"].startswith("LiteRT ")
    assert report["bytes"]["model.tflite"] == (folder / "model.tflite").stat().st_size


def test_results_equal_those_of_the_task(tflite, translator):
    texts = ["bca", "", "x", "deed cab", "a" * 40]
    with pytest.warns(UserWarning, match="1 of 5 texts"):
        expected = translator.generate(texts)
    with pytest.warns(UserWarning, match="1 of 5 texts"):
        results = load_exported(tflite.folder).generate(texts, batch_size=2)
    assert [[a.text for a in row] for row in results] == [[a.text for a in row] for row in expected]
    assert results[0][1].score == pytest.approx(expected[0][1].score, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "new"])
def test_disagreement_leaves_only_an_earlier_export(
    tflite, make_translator, tmp_path, monkeypatch, name
):
    folder = shutil.copytree(tflite.folder, tmp_path / "parent" / "small")
    before = (folder / "model.tflite").read_bytes()
    # The file of a translator with other weights.
    monkeypatch.setattr(writer, "add_metadata", lambda *_: None)  # it has it
    monkeypatch.setattr(writer, "convert", lambda *_: read_model(before))
    message = r"(?s)must return what the model returns for .*Received: '"
    with pytest.raises(ExportError, match=message):
        make_translator(seed=5).export(folder.with_name(name), "tflite", ["abc", "de"])
    assert (folder / "model.tflite").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_export_is_not_replaced_by_a_saved_task(tflite, translator):
    with pytest.raises(ValueError, match="must be new, empty, or contain"):
        translator.save(tflite.folder)
    assert (tflite.folder / "model.tflite").is_file()


def test_a_saved_task_is_not_replaced(translator, tmp_path):
    (tmp_path / "model.keras").write_text("mine")
    with pytest.raises(ValueError, match="be new, empty, or contain model.tflite"):
        translator.export(tmp_path, "tflite", ["ab"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


class SearchWithErf(GreedySearch):
    """Greedy search with an operation that TFLite lacks."""

    def select_token(self, position, log_probs, options):
        return super().select_token(position, keras.ops.erf(log_probs), options)


@pytest.mark.slow
def test_an_operation_that_tflite_lacks_raises(make_translator, tmp_path):
    with pytest.raises(ExportError, match=r"(?s)TFLite's built-in operations. Received: .*Erf"):
        make_translator(SearchWithErf(5)).export(tmp_path / "new", "tflite", ["ab"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_details(translator, tflite, samples, tmp_path):
    report = translator.export(tmp_path / "new", "tflite", samples, details=False)
    assert report["agreement"]["equal"] == report["agreement"]["compared"] > 8
    assert "max_attention_difference" not in report["agreement"]
    assert report["bytes"]["model.tflite"] < tflite.report["bytes"]["model.tflite"]
    exported = load_exported(tmp_path / "new")
    assert exported(["bca", "deed"]) == translator(["bca", "deed"])
    with pytest.raises(ValueError, match=r"signature `details`. Received: TFLiteRunner"):
        exported.attention("bca")
