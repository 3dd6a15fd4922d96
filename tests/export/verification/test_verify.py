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
from keras_attention.tasks import Captioner, load_exported, load_task
from keras_attention.text import CharacterTokenizer
from keras_attention.utils.manifest import write_manifest

pytestmark = pytest.mark.slow

SAMPLES = ["a", "bcade", "deed abba"]


def image_captioner():
    tokenizer = CharacterTokenizer.train(["abc"])
    backbone = ResidualCNN((8,))
    model = captioner(tokenizer.vocabulary_size, (16, 24), backbone=backbone, hidden_dim=8)
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


@pytest.mark.parametrize("kind", ["label", "tags"])
def test_signatures_of_ids(kind, make_labeler, tmp_path):
    """Those of text are verified in `test_labels.py`."""
    task = make_labeler(kind, ["n", "v"])
    task.export(tmp_path / kind, "saved_model", SAMPLES, tokenizer=False)
    agreement = verify(tmp_path / kind)["agreement"]
    assert agreement["equal"] == agreement["compared"] >= len(SAMPLES)


@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_recorded_images_are_small(format, tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (300, 400, 3), "uint8")
    image_captioner().export(tmp_path / "new", format, [large])
    (path,) = tmp_path.rglob("samples.json")
    assert path.stat().st_size < 20_000
    agreement = verify(tmp_path / "new")["agreement"]
    assert agreement["equal"] == agreement["compared"] == 2


def change_samples(folder, change):
    """Applies a change to `samples.json` and corrects its digest."""
    path = folder / "samples.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    change(recorded)
    path.write_text(json.dumps(recorded, ensure_ascii=False, indent=1), encoding="utf-8")
    write_manifest(
        folder / "verification.json", read_unchecked_manifest(folder / "verification.json")
    )


def read_unchecked_manifest(path):
    report = json.loads(path.read_text(encoding="utf-8"))
    del report["sha256_of_the_lines_above"]
    return report


def verify_in_one_line(folder, capsys):
    """Runs the command; returns its status, which is 2 with one line of error, or 0."""
    status = main(["verify", str(folder)])
    error = capsys.readouterr().err
    assert status == 0 or (status == 2 and error.count("\n") == 1 and "Traceback" not in error)
    return status


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


@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_a_flipped_bit_in_any_file_is_noticed(format, request, tmp_path, capsys):
    folder = shutil.copytree(request.getfixturevalue(format).folder, tmp_path / "copy")
    generator = np.random.default_rng(0)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) >= 8
    for path in files:
        whole = path.read_bytes()
        for _ in range(3):
            data = np.frombuffer(whole, np.uint8).copy()
            data[generator.integers(len(data))] ^= 1 << generator.integers(8)
            path.write_bytes(data.tobytes())
            assert verify_in_one_line(folder, capsys) == 2, path
        if path.parent != folder or format == "tflite":  # not next to the versions
            with pytest.raises(ValueError, match="Received: "):
                load_exported(folder)
        path.write_bytes(whole)
    (folder / "note.txt").write_text("not a file of the export")
    assert verify_in_one_line(folder, capsys) == 0


def test_an_edited_configuration_next_to_a_version(saved_model, tmp_path):
    folder = shutil.copytree(saved_model.folder, tmp_path / "copy")
    (folder / "batching.config").write_text("mine")
    with pytest.raises(ValueError, match=r"batching.config.* verify the version alone: '.*/1'"):
        verify(folder)
    assert verify(folder / "1")["agreement"]["compared"]


@pytest.mark.parametrize(
    "change",
    [
        {"date": 3},
        {"date": "\x1b[31m"},
        {"format": None},
        {"format": "saved_model"},
        {"weights": "float33"},
        {"weights": ["int8"]},
        {"sha256": {}},
    ],
    ids=str,
)
def test_damaged_fields_of_the_report(copy, capsys, change):
    path = copy / "verification.json"
    report = read_unchecked_manifest(path)
    path.write_text(json.dumps({**report, **change}))  # by hand
    assert verify_in_one_line(copy, capsys) == 2
    write_manifest(path, {**report, **change})  # by something that writes new digests
    assert verify_in_one_line(copy, capsys) == (0 if "sha256" in change else 2)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": 1},
        {"inputs": [{"source": [[1.5, "a"]]}] * 5},
        {"inputs": [{"source": {"shape": [2], "zlib": "eJxjAAAAAQAB"}}] * 5},
        {"outputs": [{"probabilities": [[1], [1, 2]]}] * 5},
        {"outputs": [{"nothing": [1]}] * 5},
        {"signature": "none"},
        {"samples": None},
    ],
    ids=str,
)
def test_damaged_samples(copy, capsys, change):
    change_samples(copy, lambda recorded: recorded.update(change))
    assert verify_in_one_line(copy, capsys) == 2


def test_samples_that_may_not_be_recorded(make_labeler, tmp_path):
    task, secret = make_labeler("label", ["n", "v"]), ["abcde", "edcba"]
    for format in ("saved_model", "tflite"):
        folder = tmp_path / format
        report = task.export(folder, format, secret, record_samples=False)
        files = [path for path in folder.rglob("*") if path.is_file()]
        for text in secret:
            assert not any(text.encode() in path.read_bytes() for path in files)
        assert len(report["batch_sizes"]) > 2 * len(secret) + 8
        agreement = verify(folder)["agreement"]
        assert agreement["equal"] == agreement["compared"] == 8


def test_a_saved_task(make_labeler, tmp_path, capsys):
    make_labeler("label", ["a", "b"]).save(tmp_path / "task")
    assert main(["verify", str(tmp_path / "task")]) == 0
    assert "TextClassifier" in capsys.readouterr().out
    for path in sorted(path for path in (tmp_path / "task").rglob("*") if path.is_file()):
        whole = path.read_bytes()
        data = bytearray(whole)
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert verify_in_one_line(tmp_path / "task", capsys) == 2
        with pytest.raises(ValueError, match=f"{path.name}'"):
            load_task(tmp_path / "task")
        path.write_bytes(whole)
    load_task(tmp_path / "task")


def test_folders_without_export_raise(copy, tmp_path):
    (copy / "samples.json").unlink()
    with pytest.raises(ValueError, match="must exist. Received: 'samples.json', which is missing"):
        verify(copy)
    with pytest.raises(ValueError, match="`folder` must be a SavedModel, its base path, or"):
        verify(tmp_path / "nothing")


def test_the_command(tagger_file, capsys):
    assert main(["verify", str(tagger_file)]) == 0
    first, _ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"tflite: {tagger_file}")
