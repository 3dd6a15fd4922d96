"""An export that is as it was says what it said; another one is found out."""

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

SENTENCES = ["a", "bcade", "deed abba"]


def image_captioner():
    letters = CharacterTokenizer.train(["abc"])
    model = captioner(letters.vocabulary_size, (16, 24), grid=ResidualCNN((8,)), hidden_dim=8)
    return Captioner(model, letters, GreedySearch(4))


@pytest.fixture(scope="module")
def phone(make_labeler, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone") / "tags"
    make_labeler("tags", ["n", "v"]).export(folder, "tflite", SENTENCES)
    return folder


def test_a_served_version(served, sentences):
    said = verify(served)
    assert said["path"] == str(served / "1")
    assert said["agreement"]["answers"] == 2 * (len(sentences) + 2)
    assert said["agreement"]["equal"] == said["agreement"]["answers"]
    assert said["agreement"]["max_score_difference"] < 1e-5


def test_a_file(phone):
    said = verify(phone)
    assert said["format"] == "tflite" and said["agreement"]["equal"] > 5
    assert said["agreement"]["equal"] == said["agreement"]["answers"]


@pytest.mark.parametrize("kind", ["label", pytest.param("tags", marks=pytest.mark.slow)])
def test_ids_alone_and_text(kind, make_labeler, tmp_path):
    task = make_labeler(kind, ["n", "v"])
    for tokenizer in (True, False):
        task.export(tmp_path / kind, "saved_model", SENTENCES, tokenizer=tokenizer)
        agreement = verify(tmp_path / kind)["agreement"]
        assert agreement["equal"] == agreement["answers"] >= len(SENTENCES)


def test_translations_by_ids_alone(translator, tmp_path):
    translator.export(tmp_path / "new", "saved_model", SENTENCES, tokenizer=False)
    agreement = verify(tmp_path / "new")["agreement"]
    assert agreement["equal"] == agreement["answers"] == 10


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_images_are_kept_small(format, tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (300, 400, 3), "uint8")
    image_captioner().export(tmp_path / "new", format, [large])
    (trials,) = tmp_path.rglob("trials.json")
    assert trials.stat().st_size < 20_000
    agreement = verify(tmp_path / "new")["agreement"]
    assert agreement["equal"] == agreement["answers"] == 2


def changed(folder, change):
    path = folder / "trials.json"
    trials = json.loads(path.read_text(encoding="utf-8"))
    change(trials)
    text = json.dumps(trials, ensure_ascii=False, indent=1)
    path.write_text(text, encoding="utf-8")
    proof = json.loads((folder / "proof.json").read_text(encoding="utf-8"))
    proof["bytes"]["trials.json"] = path.stat().st_size
    (folder / "proof.json").write_text(json.dumps(proof), encoding="utf-8")


@pytest.fixture
def copy(phone, tmp_path):
    return shutil.copytree(phone, tmp_path / "copy")


def test_another_answer_is_found_out(copy, capsys):
    def change(trials):
        trials["scores"][1][0][0] += 0.01

    changed(copy, change)
    with pytest.raises(ExportError, match="(?s)Expected the earlier answer to .*Received: "):
        verify(copy)
    assert main(["verify", str(copy)]) == 2
    assert "Expected the earlier answer" in capsys.readouterr().err


def test_a_file_that_was_cut_is_found_out(copy):
    (file,) = [path for path in (copy / "source").iterdir() if path.name != "tokenizer.json"]
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        ExportError, match=f"{file.name}: expected {size} bytes. Received: {size - 1}"
    ):
        verify(copy)
    file.unlink()
    with pytest.raises(ExportError, match=f"expected {size} bytes. Received: None"):
        verify(copy)


def test_what_cannot_be_verified(copy, tmp_path):
    (copy / "trials.json").unlink()
    with pytest.raises(ValueError, match="expected an export with trials.json, .*Received: "):
        verify(copy)
    with pytest.raises(ValueError, match="folder: expected a SavedModel, its base path, or"):
        verify(tmp_path / "nothing")


def test_the_command(phone, capsys):
    assert main(["verify", str(phone)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"tflite: {phone}, of 20")
    assert "answers are as then, scores within" in second
