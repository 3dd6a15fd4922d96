"""The writer for transformers.js: files, comparison, and what remains after a failure."""

import json
import shutil

import pytest

from exports import small_translator
from keras_attention.export import ExportError, verify
from keras_attention.export.transformers_js import writer
from keras_attention.export.transformers_js.graphs import convert_decoder
from keras_attention.export.transformers_js.tokenizer_json import join_tokenizers
from keras_attention.generation import BeamSearch
from keras_attention.tasks import load_exported
from keras_attention.utils.manifest import read_manifest
from small_transformers import build_transformer

pytestmark = pytest.mark.tensorflow_only


def test_folder_and_report(written, samples):
    folder, report = written
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "config.json",
        "export.json",
        "generation_config.json",
        "onnx/decoder_model_merged.onnx",
        "onnx/encoder_model.onnx",
        "samples.json",
        "source/sentencepiece.model",
        "source/tokenizer.json",
        "target/sentencepiece.model",
        "target/tokenizer.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "verification.json",
    }
    contents = read_manifest(folder / "verification.json")
    assert contents == {name: value for name, value in report.items() if name != "path"}
    assert {"onnx", "onnxruntime", "tf2onnx", "tokenizers"} < contents["versions"].keys()
    agreement = report["agreement"]
    # each sample alone and in batches, with an empty and a long one
    assert agreement["compared"] == agreement["equal"] == 2 * (len(samples) + 2)
    assert agreement["max_score_difference"] < 1e-4


def test_config(written, task):
    config = json.loads((written.folder / "config.json").read_text())
    assert config["model_type"] == "marian" and config["is_encoder_decoder"]
    # the shapes of the caches, and of the logits
    sizes = "d_model", "encoder_attention_heads", "decoder_attention_heads", "decoder_layers"
    assert [config[name] for name in sizes] == [8, 2, 2, 1]
    assert config["vocab_size"] == task.postprocessor.tokenizer.vocabulary_size
    ids = {"pad_token_id": 0, "decoder_start_token_id": 1, "eos_token_id": 2}
    assert ids.items() < config.items()
    generation_config = json.loads((written.folder / "generation_config.json").read_text())
    expected = {**ids, "max_length": 10, "num_beams": 1, "suppress_tokens": [0, 1]}
    assert generation_config == expected


def test_verified_again(written, samples, tmp_path):
    agreement = verify(written.folder)["agreement"]
    assert agreement["compared"] == agreement["equal"] == len(samples) + 2
    folder = shutil.copytree(written.folder, tmp_path / "changed")
    (folder / "tokenizer.json").write_text("{}")
    for read in (verify, load_exported):
        with pytest.raises(ValueError, match="tokenizer.json' must be the file that was written"):
            read(folder)


@pytest.mark.slow
def test_disagreement_leaves_only_an_earlier_export(written, task, tmp_path, monkeypatch):
    folder = shutil.copytree(written.folder, tmp_path / "parent" / "small")
    before = (folder / "onnx" / "decoder_model_merged.onnx").read_bytes()
    other = small_translator(seed=5, build=build_transformer)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "convert_decoder", lambda *args: convert_decoder(other.model))
        with pytest.raises(ExportError, match="must return what the model returns"):
            task.export(folder, "transformers_js", ["abc"])
    joint = join_tokenizers(task.source_tokenizer, task.postprocessor.tokenizer)
    joint.contents["normalizer"]["normalizers"].append({"type": "Prepend", "prepend": "a"})
    with monkeypatch.context() as patch:
        patch.setattr(writer, "join_tokenizers", lambda *args: joint)
        with pytest.raises(ExportError, match="`tokenizer.json` must return .* for 'bc': .*Rec"):
            task.export(folder, "transformers_js", ["bc"])
    assert (folder / "onnx" / "decoder_model_merged.onnx").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


@pytest.mark.slow
def test_beam_search_becomes_greedy_search(tmp_path):
    strategy = BeamSearch(3, max_new_tokens=5, suppress_tokens=[6], force_end=True)
    translator = small_translator(strategy, build=build_transformer)
    report = translator.export(tmp_path / "new", "transformers_js", ["ab"])
    assert report["strategy"] == (
        "GreedySearch(max_new_tokens=5, length_ratio=None, suppress_tokens=[6], force_end=True)"
    )
    config = json.loads((tmp_path / "new" / "generation_config.json").read_text())
    assert config["max_length"] == 6 and config["suppress_tokens"] == [0, 1, 6]
    assert config["num_beams"] == 1 and config["forced_eos_token_id"] == 2
    strategy = load_exported(tmp_path / "new").runner.strategy
    assert (strategy.max_new_tokens, strategy.force_end) == (5, True)


def test_other_folders_are_not_replaced(task, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be new, empty, or contain export.json and gen"):
        task.export(tmp_path, "transformers_js", ["abc"])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
