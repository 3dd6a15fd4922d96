"""The CTranslate2 writer: files, comparison, and what remains after a failure."""

import shutil

import pytest

from keras_attention.export import ExportError, verify
from keras_attention.export.ctranslate2 import writer
from keras_attention.generation import BeamSearch
from keras_attention.tasks import load_exported
from keras_attention.utils.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]


def test_folder_and_report(written, samples):
    folder, report = written
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "export.json",
        "model.bin",
        "samples.json",
        "source",
        "source_vocabulary.json",
        "target",
        "target_vocabulary.json",
        "verification.json",
    ]
    contents = read_manifest(folder / "verification.json")
    assert contents == {name: value for name, value in report.items() if name != "path"}
    assert report["runtime"].startswith("CTranslate2 ")
    agreement = report["agreement"]
    # each sample alone and in batches, but for the empty one
    assert agreement["compared"] == agreement["equal"] == 2 * (len(samples) + 1)
    assert agreement["max_score_difference"] < 1e-4
    assert agreement["max_attention_difference"] < 1e-5


def test_verified_again(written, samples, tmp_path):
    agreement = verify(written[0])["agreement"]
    assert agreement["compared"] == agreement["equal"] == len(samples) + 1
    folder = shutil.copytree(written[0], tmp_path / "changed")
    (folder / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="config.json"):
        load_exported(folder)


def test_disagreement_leaves_only_an_earlier_export(
    written, small_transformer, tmp_path, monkeypatch
):
    folder = shutil.copytree(written[0], tmp_path / "parent" / "small")
    before = (folder / "model.bin").read_bytes()
    write_model = writer.write_model

    def write_another(generation, new, weights):
        write_model(generation, new, weights)
        (new / "model.bin").write_bytes(before)

    monkeypatch.setattr(writer, "write_model", write_another)
    with pytest.raises(ExportError, match="must return what the model returns"):
        small_transformer(seed=5).export(folder, "ctranslate2", ["abc", "de"])
    assert (folder / "model.bin").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


def test_arguments(small_transformer, tmp_path):
    translator = small_transformer()
    with pytest.raises(ValueError, match="`weights` must be one of .*int4"):
        translator.export(tmp_path / "a", "ctranslate2", weights="int4")
    with pytest.raises(ValueError, match="`references` are for exports whose results are scored"):
        translator.export(tmp_path / "a", "ctranslate2", ["a"], references=["A"])
    with pytest.raises(ValueError, match="one element for each sample. Received: 1 references, 2"):
        translator.export(
            tmp_path / "a", "ctranslate2", ["a", "b"], weights="int8", references=["A"]
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_reduced_precision(weights, small_transformer, samples, tmp_path):
    references = ["ABC"] * len(samples)
    report = small_transformer().export(
        tmp_path / weights, "ctranslate2", samples, weights=weights, references=references,
        allow_loss=True,
    )  # fmt: skip
    assert report["scores"]["against"] == "references"
    assert report["scores"]["samples"] == len(samples)
    assert report["agreement"]["compared"] == len(samples) + 1
    assert verify(tmp_path / weights)["agreement"]["compared"] == len(samples) + 1


def test_made_samples_are_recorded_in_place_of_those_of_the_user(small_transformer, tmp_path):
    translator = small_transformer(BeamSearch(3, max_new_tokens=9))
    translator.export(
        tmp_path / "a", "ctranslate2", ["deed", ""], record_samples=False, allow_loss=True
    )
    text = (tmp_path / "a" / "samples.json").read_text(encoding="utf-8")
    assert '"deed"' not in text and '"[' not in text
