"""Signatures `encode` and `step`, run as an app would, generate like the model's greedy search."""

import numpy as np
import pytest

from helpers import model_inputs
from keras_attention.export import ExportError
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.tflite.step_signatures import generate, verify_steps
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.models import transformer
from keras_attention.types import Batch

SAMPLES = ["a", "bcade", "deed abba"]


@pytest.fixture(scope="module")
def runner(tflite):
    """Runner of a file whose own strategy is beam search."""
    return TFLiteRunner(tflite.folder)


def test_one_file_has_both_loops(tflite, runner):
    assert tflite.report["steps_agreement"] == {"compared": 14, "equal": 14}
    signatures = runner.interpreter.get_signature_list()
    assert set(signatures) == {"serving_default", "details", "encode", "step"}
    tensors = set(signatures["encode"]["outputs"])
    assert set(signatures["step"]["inputs"]) == {"ids", "position"} | tensors
    assert {name.rpartition("_")[0] for name in tensors} == {"constants", "state"}
    state = {name for name in tensors if name.startswith("state_")}
    assert state and set(signatures["step"]["outputs"]) == {"log_probabilities"} | state


def test_an_app_generates_like_greedy_search(runner, translator):
    for texts in (["bca"], ["deed cab", "", "x"]):
        source = model_inputs(translator, texts)
        expected = np.asarray(translator.model.generate(source, GreedySearch(9)).ids)[:, 0]
        ids = generate(runner.call, source, 9)
        np.testing.assert_array_equal(ids[:, : expected.shape[1]], expected)


def test_another_model_disagrees(runner, make_translator):
    other = make_translator(seed=5)
    batches = [Batch(model_inputs(other, ["bcade"]))]
    with pytest.raises(ExportError, match=r"greedy search generates for ids \[.*\]: \[.*\]"):
        verify_steps(other.model, other.strategy, runner.call, batches, exact=True)
    report = verify_steps(other.model, other.strategy, runner.call, batches, exact=False)
    assert report == {"steps_agreement": {"compared": 1, "equal": 0}}


def small_transformer(source, target):
    return transformer(
        source, target, size="tiny", num_layers=2, hidden_dim=16, intermediate_dim=12, num_heads=4
    )


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_transformer(make_translator, tmp_path, weights):
    task = make_translator(BeamSearch(2, max_new_tokens=9), build=small_transformer)
    options = {} if weights == "float32" else {"weights": weights, "allow_loss": True}
    report = task.export(tmp_path / "new", "tflite", SAMPLES, steps=True, **options)
    assert report["steps_agreement"]["compared"] == 10
    assert report["steps_agreement"]["equal"] >= (10 if weights == "float32" else 8)
