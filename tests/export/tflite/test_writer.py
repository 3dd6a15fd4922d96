import json

import keras
import pytest

from keras_attention.export import ExportError, load_exported
from keras_attention.export.tflite import writer as tflite
from keras_attention.generation import GreedySearch


@pytest.fixture(scope="module")
def exported(translator, sentences, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone") / "small"
    return folder, translator.export(folder, "tflite", sentences)


def test_folder(exported):
    folder, said = exported
    assert sorted(path.name for path in folder.iterdir()) == [
        "export.json",
        "model.tflite",
        "proof.json",
        "source",
        "target",
        "trials.json",
    ]
    assert said["path"] == str(folder)


def test_proof_says_what_was_compared(exported, sentences):
    folder, said = exported
    written = json.loads((folder / "proof.json").read_text(encoding="utf-8"))
    assert written == {name: value for name, value in said.items() if name != "path"}
    assert said["agreement"]["answers"] == 4 * (len(sentences) + 2)
    assert said["agreement"]["equal"] == said["agreement"]["answers"]
    assert said["agreement"]["max_score_difference"] < 1e-5
    assert said["runtime"].startswith("LiteRT ")
    assert said["bytes"]["model.tflite"] == (folder / "model.tflite").stat().st_size


def test_answers_equal_the_tasks(exported, translator):
    folder, _ = exported
    texts = ["bca", "", "x", "deed cab", "a" * 40]
    with pytest.warns(UserWarning, match="1 of 5 texts"):
        expected = translator.generate(texts)
    with pytest.warns(UserWarning, match="1 of 5 texts"):
        answers = load_exported(folder).generate(texts, batch_size=2)
    assert [[a.text for a in row] for row in answers] == [[a.text for a in row] for row in expected]
    assert answers[0][1].score == pytest.approx(expected[0][1].score, rel=1e-5)


def test_disagreement_leaves_what_stood_there(
    exported, translator, make_translator, tmp_path, monkeypatch
):
    folder, said = exported
    other = tflite.convert(make_translator(seed=5))
    before = (folder / "model.tflite").read_bytes()
    monkeypatch.setattr(tflite, "convert", lambda *_: other)
    for there in (folder, tmp_path / "new"):
        with pytest.raises(ExportError, match=r"(?s)Expected the model's answer.*Received: '"):
            translator.export(there, "tflite", ["abc", "de"])
    assert (folder / "model.tflite").read_bytes() == before
    assert list(tmp_path.iterdir()) == []
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_export_is_not_replaced_by_a_saved_task(exported, translator):
    folder, _ = exported
    with pytest.raises(ValueError, match="The folder must be new, empty"):
        translator.save(folder)
    assert (folder / "model.tflite").is_file()


def test_a_saved_task_is_not_replaced(translator, tmp_path):
    (tmp_path / "model.keras").write_text("mine")
    with pytest.raises(ValueError, match="new or empty folder, or one with model.tflite"):
        translator.export(tmp_path, "tflite", ["ab"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


class ByErf(GreedySearch):
    def pick(self, t, log_probs, given):
        return super().pick(t, keras.ops.erf(log_probs), given)


def test_an_operation_that_tflite_lacks(make_translator, tmp_path):
    with pytest.raises(ExportError, match=r"(?s)TFLite's built-in operations. Received: .*Erf"):
        make_translator(ByErf(5)).export(tmp_path / "new", "tflite", ["ab"])
    assert list(tmp_path.iterdir()) == []
