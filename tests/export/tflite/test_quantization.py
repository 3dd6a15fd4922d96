"""Files with rounded numbers: what is written, how it is scored, and when it is refused."""

import json
import sys
from functools import partial

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from keras_attention.export import ExportError, load_exported
from keras_attention.export.tflite import writer as tflite
from keras_attention.export.tflite.int4 import int4, replace_gathers
from keras_attention.export.tflite.writer import LiteRT
from keras_attention.export.verification import quality as score
from keras_attention.generation import GreedySearch
from keras_attention.models import seq2seq, transformer

LABELS = ["eins", "zwei", "größer"]
SENTENCES = ["a", "bcade", "deed abba", "äx", "cab cab cab cab"]
ROUNDED = ("float16", "int8", "full_int8")


@pytest.fixture(scope="module")
def make(make_labeler):
    return partial(make_labeler, labels=LABELS, scale=0.4, hidden_dim=32, intermediate_dim=64)


@pytest.fixture(scope="module")
def label(make):
    return make("label")


@pytest.fixture(scope="module")
def files(label, tmp_path_factory):
    """The classifier with all weights, and their proofs."""
    folder = tmp_path_factory.mktemp("phone")
    right = label(SENTENCES)
    said = {"float32": label.export(folder / "float32", "tflite", SENTENCES)}
    for weights in ROUNDED:
        said[weights] = label.export(
            folder / weights, "tflite", SENTENCES, weights=weights, references=right
        )
    return folder, said


def test_proofs_say_the_weights_and_the_scores(files):
    folder, said = files
    for weights, proof in said.items():
        written = json.loads((folder / weights / "proof.json").read_text(encoding="utf-8"))
        assert written == {name: value for name, value in proof.items() if name != "path"}
        about = json.loads((folder / weights / "export.json").read_text(encoding="utf-8"))
        assert about["weights"] == proof["weights"] == weights
    assert "scores" not in said["float32"]
    for weights in ROUNDED:
        assert said[weights]["agreement"] == {"answers": 7, "equal": 7}
        assert said[weights]["scores"] == {
            "against": "references",
            "sentences": 5,
            "model": {"accuracy": 100.0},
            "export": {"accuracy": 100.0},
            "most_lost": 1.0,
            "loss_allowed": False,
        }


@pytest.mark.parametrize(("weights", "apart"), [("float16", 2e-3), ("int8", 5e-2)])
def test_rounded_numbers_are_near_the_models(files, label, weights, apart):
    source = label.encode([*SENTENCES, ""])
    found = LiteRT(files[0] / weights / "model.tflite").run(source)["probabilities"]
    expected = label.run(source)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=apart)
    assert not np.array_equal(found, expected)


def test_rounded_files_are_smaller(files):
    size = {weights: proof["bytes"]["model.tflite"] for weights, proof in files[1].items()}
    assert size["int8"] < size["float16"] < size["float32"]
    assert size["full_int8"] < size["float16"]


def test_masked_scores_leave_room_for_the_others_in_eight_bits(files, label):
    """With -1e9 in their range all scores are one number; some rows here are mostly padding."""
    source = label.encode([*SENTENCES, ""])
    found = LiteRT(files[0] / "full_int8" / "model.tflite").run(source)["probabilities"]
    np.testing.assert_allclose(found, label.run(source)["probabilities"], atol=0.05)


def test_exports_of_rounded_files_answer(files, label):
    for weights in ROUNDED:
        assert load_exported(files[0] / weights)(SENTENCES) == label(SENTENCES)


def test_tags_in_eight_bits(make, tmp_path):
    task = make("tags", seed=1)  # where no two tags are about as probable
    right = [[tag.tag for tag in row] for row in task(SENTENCES)]
    said = task.export(tmp_path / "new", "tflite", SENTENCES, weights="full_int8", references=right)
    assert said["scores"]["export"] == said["scores"]["model"] == {"accuracy": 100.0}


def test_embedding_lookups_return_the_gathered_rows(files, label, tmp_path):
    file = (files[0] / "float32" / "model.tflite").read_bytes()
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file))
    replace_gathers(model)
    codes = {code.builtinCode for code in model.operatorCodes}
    assert schema.BuiltinOperator.EMBEDDING_LOOKUP in codes
    (tmp_path / "model.tflite").write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    for texts in (["a"], [*SENTENCES, ""]):
        source = label.encode(texts)
        found, expected = (
            LiteRT(path / "model.tflite").run(source)["probabilities"]
            for path in (tmp_path, files[0] / "float32")
        )
        np.testing.assert_array_equal(found, expected)


def test_four_bits(files, label, tmp_path):
    options = {"weights": "int4", "allow_loss": True}
    said = label.export(tmp_path / "new", "tflite", SENTENCES, **options)
    assert said["bytes"]["model.tflite"] < files[1]["int8"]["bytes"]["model.tflite"]
    source = label.encode([*SENTENCES, ""])
    found = LiteRT(tmp_path / "new" / "model.tflite").run(source)["probabilities"]
    apart = np.abs(found - label.run(source)["probabilities"])
    assert 1e-3 < apart.max() < 0.3


def test_int4_names_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(ImportError, match="requires the extra `int4`"):
        int4(b"")


def test_a_file_that_loses_is_refused_unless_allowed(make, label, files, tmp_path, monkeypatch):
    other = (files[0] / "int8" / "model.tflite").read_bytes()
    worse = make("label")
    for weight in worse.model.trainable_weights[-2:]:  # the most probable is the least now
        weight.assign(-weight)
    right = worse(SENTENCES)
    monkeypatch.setattr(tflite, "convert", lambda *_: other)
    options = {"weights": "int8", "references": right}
    with pytest.raises(ExportError, match=r"at most 1.0 below the model's {'accuracy': 100.0} on"):
        worse.export(tmp_path / "new", "tflite", SENTENCES, **options)
    assert list(tmp_path.iterdir()) == []
    said = worse.export(tmp_path / "new", "tflite", SENTENCES, **options, allow_loss=True)
    assert said["scores"]["export"] == {"accuracy": 0.0}
    assert said["scores"]["loss_allowed"] is True
    assert said["agreement"] == {"answers": 7, "equal": 0}


def test_without_references_the_model_is_right(label, tmp_path):
    said = label.export(tmp_path / "new", "tflite", weights="int8")
    assert said["scores"]["against"] == "the model's own answers"
    assert said["scores"]["model"] == {"accuracy": 100.0}
    assert said["scores"]["sentences"] == said["agreement"]["answers"] == 10


def test_words_that_depend_on_the_batch_are_refused(label):
    def run(source, details=False):
        found = label.run(source)["probabilities"]
        return {"probabilities": found if len(source) == 1 else found[:, ::-1]}

    with pytest.raises(ExportError, match="Expected the same answer in any batch to 'a': .*alone"):
        score.prove(label, run, SENTENCES, None, 5, True)


def test_scores_of_text():
    right = ["a b c d e", ["x y z v w", "a dog runs in the park"]]
    assert score.score("text", ["a b c d e", "a dog runs in the park"], right) == {
        "exact_match": 100.0,
        "bleu": pytest.approx(100.0),
    }
    found = score.score("text", ["a b c d e", "the cat sat"], right)
    assert found["exact_match"] == 50.0 and found["bleu"] < 100
    assert score.score("label", ["a", "b", "b"], ["a", "b", "a"])["accuracy"] == pytest.approx(
        200 / 3
    )


def test_words_without_a_tag_are_not_right():
    assert score.score("tags", [["n"], ["v"]], [["n", "v", "v"], ["v"]]) == {"accuracy": 50.0}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": "int7"}, "weights: expected one of .*Received: weights='int7'"),
        ({"references": ["eins"] * 5}, "weights that are rounded; .*weights='float32'"),
        ({"weights": "int8", "references": ["eins"]}, "one for each.* 1 references, 5 sentences"),
    ],
)
def test_wrong_options(label, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        label.export(tmp_path / "new", "tflite", SENTENCES, **options)
    assert list(tmp_path.iterdir()) == []


def test_loops_have_no_ranges(make, translator, tmp_path):
    encoder = seq2seq(11, 12, 8, 8).encoder
    for task in (translator, make("label", encoder=encoder)):
        with pytest.raises(ValueError, match="others than 'full_int8' for a model with a loop"):
            task.export(tmp_path / "new", "tflite", SENTENCES, weights="full_int8")
    assert list(tmp_path.iterdir()) == []


def small_transformer(source, target):
    return transformer(
        source, target, size="tiny", num_layers=2, hidden_dim=32, intermediate_dim=64, num_heads=4
    )


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float16", "int8"])
@pytest.mark.parametrize("build", [None, small_transformer], ids=["RNN", "transformer"])
def test_generation(make_translator, tmp_path, weights, build):
    task = make_translator(GreedySearch(9), **({"build": build} if build else {}))
    said = task.export(tmp_path / "new", "tflite", SENTENCES, weights=weights, allow_loss=True)
    assert set(said["scores"]["export"]) == {"exact_match", "bleu"}
    assert said["agreement"]["equal"] >= said["agreement"]["answers"] - 1
    phone = load_exported(tmp_path / "new")
    assert sum(a == b for a, b in zip(phone(SENTENCES), task(SENTENCES), strict=True)) >= 4


def test_what_does_not_generate_has_no_steps(label, tmp_path):
    with pytest.raises(ValueError, match="steps: expected of a task that generates"):
        label.export(tmp_path / "new", "tflite", SENTENCES, steps=True)
