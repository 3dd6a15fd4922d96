"""Files of reduced precision: their contents, their scores, and when they are rejected."""

import json
import sys
from functools import partial

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from helpers import model_inputs
from keras_attention.export import ExportError
from keras_attention.export.tflite.embedding_lookup import replace_gathers
from keras_attention.export.tflite.metadata import min_runtime_version
from keras_attention.export.tflite.quantization import quantize_to_int4
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.verification.quality import compare_quality
from keras_attention.models import seq2seq
from keras_attention.tasks import load_exported
from keras_attention.tasks.export import exportable
from keras_attention.utils.manifest import read_manifest

pytestmark = pytest.mark.slow

LABELS = ["eins", "zwei", "größer"]
SAMPLES = ["a", "bcade", "deed abba", "äx", "cab cab cab cab"]
REDUCED = ("float16", "int8", "full_int8", "full_int16")


@pytest.fixture(scope="module")
def make(make_labeler):
    return partial(make_labeler, labels=LABELS, scale=0.4, hidden_dim=32, intermediate_dim=64)


@pytest.fixture(scope="module")
def label(make):
    return make("label")


@pytest.fixture(scope="module")
def files(label, tmp_path_factory):
    """The folder of the classifier's files in all precisions, and their reports."""
    folder = tmp_path_factory.mktemp("phone")
    references = label(SAMPLES)
    reports = {"float32": label.export(folder / "float32", "tflite", SAMPLES)}
    for weights in REDUCED:
        reports[weights] = label.export(
            folder / weights, "tflite", SAMPLES, weights=weights, references=references
        )
    return folder, reports


def test_reports_name_the_precision_and_the_scores(files):
    folder, reports = files
    for weights, report in reports.items():
        written = read_manifest(folder / weights / "verification.json")
        assert written == {name: value for name, value in report.items() if name != "path"}
        about = json.loads((folder / weights / "export.json").read_text(encoding="utf-8"))
        assert about["weights"] == report["weights"] == weights
    assert "scores" not in reports["float32"]
    for weights in REDUCED:
        assert reports[weights]["agreement"] == {"compared": 7, "equal": 7}
        assert reports[weights]["scores"] == {
            "against": "references",
            "samples": 5,
            "model": {"accuracy": 100.0},
            "export": {"accuracy": 100.0},
            "max_loss": 1.0,
            "loss_allowed": False,
        }


@pytest.mark.parametrize(("weights", "tolerance"), [("float16", 2e-3), ("int8", 5e-2)])
def test_probabilities_are_near_the_models(files, label, weights, tolerance):
    source = model_inputs(label, [*SAMPLES, ""])
    probabilities = TFLiteRunner(files[0] / weights / "model.tflite")(source)["probabilities"]
    expected = label.runner(source)["probabilities"]
    np.testing.assert_allclose(probabilities, expected, atol=tolerance)
    assert not np.array_equal(probabilities, expected)


def test_reduced_precision_makes_files_smaller(files):
    size = {weights: report["bytes"]["model.tflite"] for weights, report in files[1].items()}
    assert size["int8"] < size["float16"] < size["float32"]
    assert max(size["full_int8"], size["full_int16"]) < size["float16"]


@pytest.mark.parametrize(("weights", "tolerance"), [("full_int8", 0.05), ("full_int16", 0.01)])
def test_masked_scores_fit_the_range_of_integers(files, label, weights, tolerance):
    """With -1e9 in the range all scores would be equal; some rows here are mostly padding."""
    source = model_inputs(label, [*SAMPLES, ""])
    probabilities = TFLiteRunner(files[0] / weights / "model.tflite")(source)["probabilities"]
    np.testing.assert_allclose(probabilities, label.runner(source)["probabilities"], atol=tolerance)


def test_loaded_exports_return_the_same_labels(files, label):
    for weights in REDUCED:
        assert load_exported(files[0] / weights)(SAMPLES) == label(SAMPLES)


def test_tags_in_full_int8(make, tmp_path):
    task = make("tags", seed=1)  # a seed for which no two tags are about equally probable
    references = [[tag.tag for tag in row] for row in task(SAMPLES)]
    report = task.export(
        tmp_path / "new", "tflite", SAMPLES, weights="full_int8", references=references
    )
    assert report["scores"]["export"] == report["scores"]["model"] == {"accuracy": 100.0}


def test_embedding_lookup_equals_gather(files, label, tmp_path):
    file = (files[0] / "float32" / "model.tflite").read_bytes()
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file))
    replace_gathers(model)
    codes = {code.builtinCode for code in model.operatorCodes}
    assert schema.BuiltinOperator.EMBEDDING_LOOKUP in codes
    (tmp_path / "model.tflite").write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    for texts in (["a"], [*SAMPLES, ""]):
        source = model_inputs(label, texts)
        probabilities, expected = (
            TFLiteRunner(path / "model.tflite")(source)["probabilities"]
            for path in (tmp_path, files[0] / "float32")
        )
        np.testing.assert_array_equal(probabilities, expected)


def test_int4(files, label, tmp_path):
    options = {"weights": "int4", "allow_loss": True}
    report = label.export(tmp_path / "new", "tflite", SAMPLES, **options)
    assert report["bytes"]["model.tflite"] < files[1]["int8"]["bytes"]["model.tflite"]
    source = model_inputs(label, [*SAMPLES, ""])
    probabilities = TFLiteRunner(tmp_path / "new" / "model.tflite")(source)["probabilities"]
    differences = np.abs(probabilities - label.runner(source)["probabilities"])
    assert 1e-3 < differences.max() < 0.3
    written = {
        weights: flatbuffer_utils.read_model(str(folder / "model.tflite"))
        for weights, folder in (("int4", tmp_path / "new"), ("float32", files[0] / "float32"))
    }
    # EMBEDDING_LOOKUP reads 4 bits since version 4, in TensorFlow 2.18.
    assert (
        min_runtime_version(written["int4"]) == "2.18.0" != min_runtime_version(written["float32"])
    )
    lookup = schema.BuiltinOperator.EMBEDDING_LOOKUP
    assert [x.version for x in written["int4"].operatorCodes if x.builtinCode == lookup] == [4]


def test_int4_needs_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(ImportError, match="requires the extra `int4`"):
        quantize_to_int4(b"")


def test_a_file_that_loses_quality_raises_unless_allowed(make, label, tmp_path, different_model):
    worse = make("label")
    for weight in worse.model.trainable_weights[-2:]:  # makes the most probable label the least
        weight.assign(-weight)
    options = {"weights": "int8", "references": worse(SAMPLES)}
    message = r"at most 1.0 below the model's {'accuracy': 100.0} on"
    with different_model(label):
        with pytest.raises(ExportError, match=message):
            worse.export(tmp_path / "new", "tflite", SAMPLES, **options)
        assert list(tmp_path.iterdir()) == []
        report = worse.export(tmp_path / "new", "tflite", SAMPLES, **options, allow_loss=True)
    assert report["scores"]["export"] == {"accuracy": 0.0}
    assert report["scores"]["loss_allowed"] is True
    assert report["agreement"] == {"compared": 7, "equal": 0}


def test_without_references_the_models_results_are_correct(label, tmp_path):
    report = label.export(tmp_path / "new", "tflite", weights="int8")
    assert report["scores"]["against"] == "the model's own results"
    assert report["scores"]["model"] == {"accuracy": 100.0}
    assert report["scores"]["samples"] == report["agreement"]["compared"] == 10


def test_results_that_depend_on_the_batch_raise(label):
    def run(source):
        probabilities = label.runner(source)["probabilities"]
        return {"probabilities": probabilities if len(source) == 1 else probabilities[:, ::-1]}

    exported = exportable(label, label.signatures("tflite"), SAMPLES)
    with pytest.raises(ExportError, match="must not depend on the batch.* alone, .* for 'a'"):
        compare_quality(exported, run, None, allow_loss=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "int7"}, "`weights` must be one of .*Received: weights='int7'"),
        (
            {"references": ["eins"] * 5},
            "those of reduced precision; this one must return what the model returns",
        ),
        (
            {"weights": "int8", "references": ["eins"]},
            "one element for each.* 1 references, 5 samples",
        ),
    ],
)
def test_invalid_options_raise(label, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        label.export(tmp_path / "new", "tflite", SAMPLES, **options)
    assert list(tmp_path.iterdir()) == []


def test_full_int8_of_a_loop_raises(make, translator, tmp_path):
    encoder = seq2seq(11, 12, 8, 8).encoder
    for task in (translator, make("label", encoder=encoder)):
        with pytest.raises(ValueError, match="must not be 'full_int8' for signatures with a loop"):
            task.export(tmp_path / "new", "tflite", SAMPLES, weights="full_int8")
    assert list(tmp_path.iterdir()) == []


def test_steps_of_a_classifier_raise(label, tmp_path):
    with pytest.raises(ValueError, match="`steps` is for tasks that generate"):
        label.export(tmp_path / "new", "tflite", SAMPLES, steps=True)
