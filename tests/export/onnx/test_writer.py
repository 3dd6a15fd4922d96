"""The ONNX writer: files, comparison, and what remains after a failure."""

import json
import shutil

import onnx
import pytest

from keras_attention.export import ExportError, verify
from keras_attention.export.onnx import writer
from keras_attention.tasks import load_exported
from keras_attention.utils.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]


def test_folder_and_report(written, samples):
    folder, report = written
    assert sorted(path.name for path in folder.iterdir()) == [
        "export.json",
        "model.onnx",
        "samples.json",
        "source",
        "target",
        "verification.json",
    ]
    contents = read_manifest(folder / "verification.json")
    assert contents == {name: value for name, value in report.items() if name != "path"}
    assert contents["format"] == "onnx" and contents["runtime"].startswith("ONNX Runtime ")
    assert {"onnx", "onnxruntime", "tf2onnx"} < contents["versions"].keys()
    agreement = report["agreement"]
    # two hypotheses of each sample alone and in batches, with an empty and a long one
    assert agreement["compared"] == agreement["equal"] == 4 * (len(samples) + 2)
    assert agreement["max_score_difference"] < 1e-4
    assert agreement["max_attention_difference"] < 1e-5


def test_file_describes_itself(written):
    model = onnx.load(written.folder / "model.onnx")
    properties = {each.key: each.value for each in model.metadata_props}
    config = json.loads((written.folder / "export.json").read_text())
    assert json.loads(properties["export.json"]) == config
    assert (config["task"], config["max_source_length"]) == ("Translator", 12)
    assert {opset.domain for opset in model.opset_import} <= {"", "ai.onnx.ml"}


def test_verified_again(written, samples, tmp_path):
    agreement = verify(written.folder)["agreement"]
    assert agreement["compared"] == agreement["equal"] == len(samples) + 2
    folder = shutil.copytree(written.folder, tmp_path / "changed")
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)
    for read in (verify, load_exported):
        with pytest.raises(ValueError, match="model.onnx' must be the file that was written"):
            read(folder)


def test_disagreement_leaves_only_an_earlier_export(
    written, make_translator, tmp_path, monkeypatch
):
    folder = shutil.copytree(written.folder, tmp_path / "parent" / "small")
    before = (folder / "model.onnx").read_bytes()
    monkeypatch.setattr(writer, "convert", lambda *args: onnx.load(folder / "model.onnx"))
    with pytest.raises(ExportError, match="must return what the model returns"):
        make_translator(seed=5).export(folder, "onnx", ["abc"])
    assert (folder / "model.onnx").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


def test_other_folders_are_not_replaced(translator, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be new, empty, or contain model.onnx"):
        translator.export(tmp_path, "onnx", ["abc"])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
