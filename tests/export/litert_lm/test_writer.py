"""The writer of `.litertlm` files: files, comparison, and what remains after a failure."""

import shutil

import pytest

from exports import small_translator
from keras_attention.cli import main
from keras_attention.export import ExportError, verify
from keras_attention.export.litert_lm import writer
from keras_attention.export.litert_lm.bundle import read_bundle
from keras_attention.export.litert_lm.graphs import list_functions
from keras_attention.generation import Sampling
from keras_attention.tasks import load_exported
from keras_attention.utils.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]


def test_folder_and_report(written):
    folder, report = written
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "export.json",
        "model.litertlm",
        "samples.json",
        "source/sentencepiece.model",
        "source/tokenizer.json",
        "verification.json",
    }
    contents = read_manifest(folder / "verification.json")
    assert contents == {name: value for name, value in report.items() if name != "path"}
    assert contents["prefill_lengths"] == [4, 12] and contents["cache_length"] == 80
    assert {"ai-edge-litert", "litert-lm-builder"} < contents["versions"].keys()
    agreement = report["agreement"]
    # each sample alone and in batches, with an empty and a long one
    assert agreement["compared"] == agreement["equal"] == 2 * (5 + 2)
    assert agreement["max_score_difference"] < 1e-4
    assert report["compiled_model_agreement"] == {"compared": 7, "equal": 7}


def test_verified_again(written, tmp_path):
    agreement = verify(written.folder)["agreement"]
    assert agreement["compared"] == agreement["equal"] == 7
    folder = shutil.copytree(written.folder, tmp_path / "changed")
    (folder / "model.litertlm").write_bytes(b"")
    for read in (verify, load_exported):
        with pytest.raises(ValueError, match="model.litertlm' must be the file that was written"):
            read(folder)


@pytest.mark.slow(cases=1)
@pytest.mark.parametrize("weights", ["int8", "float16", "int4"])
def test_reduced_precision(weights, task, written, tmp_path):
    report = task.export(tmp_path / "new", "litert_lm", weights=weights, allow_loss=True)
    assert report["weights"] == weights and report["scores"]["export"].keys() == {
        "exact_match",
        "bleu",
    }
    size = report["bytes"]["model.litertlm"]
    assert size < written.report["bytes"]["model.litertlm"]


def test_disagreement_leaves_only_an_earlier_export(make_generator, tmp_path, monkeypatch):
    task, other = make_generator(), make_generator(positions="alibi")
    folder = tmp_path / "parent" / "small"
    task.export(folder, "litert_lm", ["abc"])
    before = (folder / "model.litertlm").read_bytes()

    def of_other(decoder, lengths):
        return list_functions(other.model.decoder, lengths)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "list_functions", of_other)
        with pytest.raises(ExportError, match="must return what the model returns"):
            task.export(folder, "litert_lm", ["abc"])
    assert (folder / "model.litertlm").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


def test_sampling_is_verified_with_greedy_search(make_generator, tmp_path):
    sampling = Sampling(temperature=0.5, top_k=3, max_new_tokens=8)
    report = make_generator(sampling).export(tmp_path / "new", "litert_lm", ["ab"])
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    parameters = read_bundle(tmp_path / "new" / "model.litertlm").metadata.sampler_params
    assert (parameters.k, parameters.temperature) == (3, 0.5)
    greedy = make_generator()
    assert load_exported(tmp_path / "new")(["ab", "c"]) == greedy(["ab", "c"])


def test_command(make_generator, tmp_path, capsys):
    task, folder = make_generator(), str(tmp_path / "lm")
    task.save(tmp_path / "task")
    options = ["--prefill-lengths", "2,8", "--cache-length", "20", "--max-new-tokens", "5"]
    assert main(["export", str(tmp_path / "task"), "--litert-lm", folder, *options]) == 0
    assert "litert_lm: " in capsys.readouterr().out
    contents = read_manifest(tmp_path / "lm" / "verification.json")
    assert (contents["prefill_lengths"], contents["cache_length"]) == ([2, 8], 20)
    assert main(["verify", folder]) == 0
    assert "outputs equal" in capsys.readouterr().out
    assert main(["generate", folder, "ab"]) == 0
    assert capsys.readouterr().out.removesuffix("\n") == task("ab")[:5]


def test_tasks_and_arguments_that_are_refused(make_generator, tmp_path):
    with pytest.raises(ValueError, match="is for language models .* a model of class Enc"):
        small_translator().export(tmp_path / "new", "litert_lm", ["abc"])
    task = make_generator(positions="learned", max_length=15)
    with pytest.raises(ValueError, match="max_length=15 positions. Received: 16 for `cache_len"):
        task.export(tmp_path / "new", "litert_lm", ["abc"], cache_length=17)
    with pytest.raises(ValueError, match="`weights` must be one of .*Received: weights='full_int8"):
        task.export(tmp_path / "new", "litert_lm", ["abc"], weights="full_int8")
    with pytest.raises(ValueError, match="`references` are for exports whose results are scored"):
        task.export(tmp_path / "new", "litert_lm", ["abc"], references=["abc"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be new, empty, or contain model.litertlm"):
        task.export(tmp_path, "litert_lm", ["abc"])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
