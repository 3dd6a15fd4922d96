"""An unchanged export passes verification again, and a changed one does not."""

import json
import shutil

import numpy as np
import pytest

from keras_attention.cli import main
from keras_attention.export import ExportError, verify
from keras_attention.generation import GreedySearch
from keras_attention.layers import ResidualCNN
from keras_attention.models import captioner
from keras_attention.tasks import Captioner
from keras_attention.text import CharacterTokenizer

SAMPLES = ["a", "bcade", "deed abba"]


def image_captioner():
    tokenizer = CharacterTokenizer.train(["abc"])
    grid = ResidualCNN((8,))
    model = captioner(tokenizer.vocabulary_size, (16, 24), grid=grid, hidden_dim=8)
    return Captioner(model, tokenizer, GreedySearch(4))


@pytest.fixture(scope="module")
def tagger_file(make_labeler, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone") / "tags"
    make_labeler("tags", ["n", "v"]).export(folder, "tflite", SAMPLES)
    return folder


def test_a_version_of_a_saved_model(saved_model, samples):
    report = verify(saved_model.folder)
    assert report["path"] == str(saved_model.folder / "1")
    assert report["agreement"]["compared"] == len(samples) + 2
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    assert report["agreement"]["max_score_difference"] < 1e-5
    recorded = json.loads((saved_model.folder / "1" / "samples.json").read_text())
    assert recorded["signature"] == "details" and recorded["samples"][:5] == samples
    assert [len(outputs["text"][0]) for outputs in recorded["outputs"]] == [2] * 7  # hypotheses


def test_a_tflite_file(tagger_file, tflite, samples):
    report = verify(tagger_file)
    assert report["format"] == "tflite" and report["agreement"]["compared"] == 5
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    agreement = verify(tflite.folder)["agreement"]
    assert agreement["equal"] == agreement["compared"] == len(samples) + 2


@pytest.mark.parametrize("kind", ["label", pytest.param("tags", marks=pytest.mark.slow)])
def test_signatures_of_ids_and_of_text(kind, make_labeler, tmp_path):
    task = make_labeler(kind, ["n", "v"])
    for tokenizer in (True, False):
        task.export(tmp_path / kind, "saved_model", SAMPLES, tokenizer=tokenizer)
        agreement = verify(tmp_path / kind)["agreement"]
        assert agreement["equal"] == agreement["compared"] >= len(SAMPLES)


def test_translations_without_tokenizer(translator, tmp_path):
    translator.export(tmp_path / "new", "saved_model", SAMPLES, tokenizer=False)
    agreement = verify(tmp_path / "new")["agreement"]
    assert agreement["equal"] == agreement["compared"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_recorded_images_are_small(format, tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (300, 400, 3), "uint8")
    image_captioner().export(tmp_path / "new", format, [large])
    (path,) = tmp_path.rglob("samples.json")
    assert path.stat().st_size < 20_000
    agreement = verify(tmp_path / "new")["agreement"]
    assert agreement["equal"] == agreement["compared"] == 2


def change_samples(folder, change):
    """Applies a change to `samples.json` and corrects its recorded size."""
    path = folder / "samples.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    change(recorded)
    path.write_text(json.dumps(recorded, ensure_ascii=False, indent=1), encoding="utf-8")
    report = json.loads((folder / "verification.json").read_text(encoding="utf-8"))
    report["bytes"]["samples.json"] = path.stat().st_size
    (folder / "verification.json").write_text(json.dumps(report), encoding="utf-8")


@pytest.fixture
def copy(tagger_file, tmp_path):
    return shutil.copytree(tagger_file, tmp_path / "copy")


def test_another_output_raises(copy, capsys):
    def change(recorded):
        recorded["outputs"][1]["probabilities"][0][0][0] += 0.01

    change_samples(copy, change)
    message = "(?s)`probabilities` must be as recorded for 'bcade'.*Received: "
    with pytest.raises(ExportError, match=message):
        verify(copy)
    assert main(["verify", str(copy)]) == 2
    assert "must be as recorded" in capsys.readouterr().err


def test_a_file_of_another_size_raises(copy):
    (file,) = [path for path in (copy / "source").iterdir() if path.name != "tokenizer.json"]
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        ExportError, match=f"{file.name} must have {size} bytes. Received: {size - 1}"
    ):
        verify(copy)
    file.unlink()
    with pytest.raises(ExportError, match=f"must have {size} bytes. Received: None"):
        verify(copy)


def test_folders_without_recorded_samples_raise(copy, tmp_path):
    (copy / "samples.json").unlink()
    with pytest.raises(ValueError, match="an export with samples.json. Received: "):
        verify(copy)
    with pytest.raises(ValueError, match="`folder` must be a SavedModel, its base path, or"):
        verify(tmp_path / "nothing")


def test_the_command(tagger_file, capsys):
    assert main(["verify", str(tagger_file)]) == 0
    first, _ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"tflite: {tagger_file}")
