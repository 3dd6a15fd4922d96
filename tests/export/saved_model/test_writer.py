import json

import numpy as np
import pytest
import tensorflow as tf

from keras_attention.export import ExportError, load_exported
from keras_attention.export.saved_model import verify as prove_saved_model
from keras_attention.export.saved_model import writer as saved_model
from keras_attention.export.saved_model.c_api import Session
from keras_attention.generation import GreedySearch
from keras_attention.text import SentencePieceTokenizer, WordPieceTokenizer

BESIDE = ["batching.config", "model.config", "serving.md"]


@pytest.fixture(scope="module")
def exported(translator, sentences, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving") / "small"
    return folder, translator.export(folder, "saved_model", sentences)


def test_layout_is_tf_servings(exported):
    folder, said = exported
    assert sorted(path.name for path in folder.iterdir()) == ["1", *BESIDE]
    assert said["path"] == str(folder / "1")
    assert (folder / "1" / "saved_model.pb").is_file()


def test_proof_says_what_was_compared(exported, sentences):
    folder, said = exported
    written = json.loads((folder / "1" / "proof.json").read_text(encoding="utf-8"))
    assert written == {name: value for name, value in said.items() if name != "path"}
    texts = len(sentences) + 2  # an empty one and one that is too long
    assert said["batch_sizes"] == [1] * texts + [texts]
    assert said["agreement"]["answers"] == 2 * 2 * texts  # two answers each, alone and together
    assert said["agreement"]["equal"] == said["agreement"]["answers"]
    assert said["agreement"]["max_score_difference"] < 1e-5
    assert said["agreement"]["max_attention_difference"] < 1e-5
    assert {name: said["ids_agreement"][name] for name in ("answers", "equal", "ties")} == {
        name: said["agreement"][name] for name in ("answers", "equal", "ties")
    }
    assert said["runtime"] == "TensorFlow's C API with tensorflow-text's operations"
    assert "SentencepieceTokenizeOp" in said["tensorflow_text_operations"]
    assert said["median_milliseconds"]["export"] > 0
    assert said["bytes"]["saved_model.pb"] == (folder / "1" / "saved_model.pb").stat().st_size


def test_weights_are_written_once(exported, translator):
    folder, _ = exported
    written = tf.train.list_variables(str(folder / "1" / "variables" / "variables"))
    counts = [np.prod(shape) for name, shape in written if "VARIABLE_VALUE" in name]
    assert sum(counts) == translator.model.count_params()


def test_signatures(exported, translator):
    folder, _ = exported
    signatures = tf.saved_model.load(str(folder / "1")).signatures
    best = signatures["serving_default"](text=tf.constant(["bca", ""]))
    answers = translator.generate(["bca", ""])
    assert [text.decode() for text in best["text"].numpy()] == [row[0].text for row in answers]
    np.testing.assert_allclose(best["score"], [row[0].score for row in answers], rtol=1e-5)

    details = signatures["details"](text=tf.constant(["bca", ""]))
    assert details["text"].shape == (2, 2)
    assert details["source_tokens"].numpy().tolist() == [
        [b"b", b"c", b"a", b"[END]"],
        [b"[END]", b"", b"", b""],
    ]
    looked = translator.attention("bca")
    written = [token.decode() for token in details["target_tokens"].numpy()[0, 0] if token]
    assert written == looked.target
    attention = details["attention"].numpy()[0, 0, : len(written)]
    np.testing.assert_allclose(attention, looked.weights, atol=1e-5)


def test_ids_give_what_the_model_gives(exported, translator):
    folder, _ = exported
    source = translator.encode(["bca", "deed abba"])
    expected = translator.run(source, details=True)
    with Session(folder / "1") as session:
        found = session.run("ids_details", {"source": source})
        best = session.run("ids", {"source": source.tolist()})
    assert set(found) == set(expected) and set(best) == {"ids", "scores"}
    np.testing.assert_array_equal(found["ids"], expected["ids"])
    np.testing.assert_array_equal(best["ids"], expected["ids"])
    for name in ("scores", "attention"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_without_tokenizer_all_operations_are_tensorflows_own(translator, sentences, tmp_path):
    said = translator.export(tmp_path / "small", "saved_model", sentences, tokenizer=False)
    assert said["tensorflow_text_operations"] == []
    assert said["runtime"] == "TensorFlow's C API without tensorflow-text's operations"
    assert said["agreement"]["equal"] == said["agreement"]["answers"] == 28
    assert said["median_milliseconds"]["export"] > 0
    signatures = tf.saved_model.load(said["path"]).signatures
    names = ["ids", "ids_details", "ids_with_options", "serving_default"]  # the first, again
    assert sorted(signatures) == names
    opened = load_exported(tmp_path / "small")
    texts = ["bca", "", "deed cab"]
    assert opened(texts) == translator(texts)
    page = (tmp_path / "small" / "serving.md").read_text(encoding="utf-8")
    assert "The graph contains only TensorFlow's core operations" in page


def test_a_server_without_libraries_has_no_tokenizer(exported, translator):
    folder, _ = exported
    batches = [["ab"]]
    with pytest.raises(ExportError, match="(?s)Received: exit status 1.*not registered"):
        prove_saved_model.run(translator, folder / "1", batches, tokenizer=False)


def test_empty_batch(exported):
    folder, _ = exported
    signatures = tf.saved_model.load(str(folder / "1")).signatures
    best = signatures["serving_default"](text=tf.constant([], tf.string))
    assert best["text"].shape == best["score"].shape == (0,)
    assert signatures["details"](text=tf.constant([], tf.string))["text"].shape == (0, 2)


def test_next_version_is_added(exported, translator, monkeypatch):
    folder, _ = exported
    (folder / "7").mkdir()
    seen = []

    write = saved_model.write_saved_model

    def look(task, version, tokenizer):
        seen.extend(path.name for path in folder.iterdir() if path.name.isdecimal())
        assert not version.name.isdecimal() and not version.parent.name.isdecimal()
        write(task, version, tokenizer)

    monkeypatch.setattr(saved_model, "write_saved_model", look)
    said = translator.export(folder, "saved_model", ["ab"])
    assert sorted(seen) == ["1", "7"]  # what is being written is no version
    assert said["path"] == str(folder / "8")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "7", "8", *BESIDE]


def test_disagreement_leaves_nothing(make_translator, tmp_path, monkeypatch):
    translator, other = (make_translator(GreedySearch(5), seed=seed) for seed in (0, 5))
    write = saved_model.write_saved_model
    monkeypatch.setattr(saved_model, "write_saved_model", lambda _, *rest: write(other, *rest))
    with pytest.raises(ExportError, match=r"(?s)Expected the model's answer.*Received: '"):
        translator.export(tmp_path / "small", "saved_model", ["abc", "de"])
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_what_stood_there(translator, tmp_path, monkeypatch):
    (tmp_path / "small" / "1").mkdir(parents=True)

    def write(task, folder, tokenizer):
        (folder / "saved_model.pb").write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(saved_model, "write_saved_model", write)
    with pytest.raises(OSError, match="no space left"):
        translator.export(tmp_path / "small", "saved_model", ["abc", "de"])
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "small",
        "small/1",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_other_tokenizers(make_translator, tmp_path, kind):
    from keras_attention.models import seq2seq
    from keras_attention.tasks import Translator

    lines = ["ein hund läuft", "zwei hunde laufen .", "ein kleiner hund schläft"]
    if kind == "wordpiece":
        tokenizer = WordPieceTokenizer.train(lines, 60, lowercase=True)
    else:
        tokenizer = SentencePieceTokenizer.train(lines, 40, model_type="bpe")
    model = seq2seq(tokenizer.vocabulary_size, tokenizer.vocabulary_size, 8, 8)
    task = Translator(model, tokenizer, tokenizer, GreedySearch(9), 16)
    said = task.export(tmp_path / "small", "saved_model", lines)
    assert said["agreement"]["equal"] == said["agreement"]["answers"] == 10
    texts = ["hunde", "Ein Hund", "", "日本"]
    assert load_exported(tmp_path / "small")(texts) == task(texts)


def test_a_file_is_no_folder(translator, tmp_path):
    (tmp_path / "small").write_text("mine")
    with pytest.raises(ValueError, match="`folder` must be a folder. Received: "):
        translator.export(tmp_path / "small", "saved_model", ["ab"])
    assert (tmp_path / "small").read_text() == "mine"


def test_a_saved_task_gets_no_versions(translator, tmp_path):
    (tmp_path / "task.json").write_text("{}")
    with pytest.raises(ValueError, match="base path, .* Received: .*contains a saved task"):
        translator.export(tmp_path, "saved_model", ["ab"])
    assert [path.name for path in tmp_path.iterdir()] == ["task.json"]


def test_wrong_backend(monkeypatch, translator, tmp_path):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(ValueError, match="Received: KERAS_BACKEND=jax"):
        translator.export(tmp_path / "small")


def test_unknown_format(translator, tmp_path):
    with pytest.raises(ValueError, match="Received: format='onnx'"):
        translator.export(tmp_path / "small", "onnx")
