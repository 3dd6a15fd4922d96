"""Signatures `encode` and `step`, driven as an app would, give the model's greedy answers."""

import numpy as np
import pytest

from keras_attention.export import ExportError, load_exported
from keras_attention.export.tflite import step_signatures as app_loop
from keras_attention.export.tflite.writer import LiteRT
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.models import transformer

SENTENCES = ["a", "bcade", "deed abba"]


@pytest.fixture(scope="module")
def exported(translator, tmp_path_factory):
    """A file whose own strategy is a beam search."""
    folder = tmp_path_factory.mktemp("phone") / "small"
    return folder, translator.export(folder, "tflite", SENTENCES, steps=True)


def test_both_ways_are_in_one_file(exported, translator):
    folder, said = exported
    assert said["steps_agreement"] == {"answers": 10, "equal": 10}
    signatures = LiteRT(folder / "model.tflite").interpreter.get_signature_list()
    assert set(signatures) == {"serving_default", "details", "encode", "step"}
    tensors = set(signatures["encode"]["outputs"])
    assert set(signatures["step"]["inputs"]) == {"ids", "position"} | tensors
    state = {name for name in tensors if name.startswith("state_")}
    assert state and set(signatures["step"]["outputs"]) == {"log_probabilities"} | state
    assert load_exported(folder)(SENTENCES) == translator(SENTENCES)


def test_an_app_gets_the_greedy_answers(exported, translator):
    runner = LiteRT(exported[0] / "model.tflite").interpreter.get_signature_runner
    for texts in (["bca"], ["deed cab", "", "x"]):
        source = translator.encode(texts)
        expected = np.asarray(translator.model.generate(source, GreedySearch(9)).ids)[:, 0]
        received = app_loop.generate(runner, source, 9)
        np.testing.assert_array_equal(received[:, : expected.shape[1]], expected)


def test_another_models_answers_are_refused(exported, make_translator):
    runner = LiteRT(exported[0] / "model.tflite").interpreter.get_signature_runner
    other = make_translator(seed=5)
    with pytest.raises(ExportError, match=r"greedy answer to 'bcade' by encode and step: \[.*\]"):
        app_loop.prove(other, runner, [["bcade"]], rounded=False)
    said = app_loop.prove(other, runner, [["bcade"]], rounded=True)
    assert said == {"answers": 1, "equal": 0}


def small_transformer(source, target):
    return transformer(
        source, target, size="tiny", num_layers=2, hidden_dim=16, intermediate_dim=12, num_heads=4
    )


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_transformer(make_translator, tmp_path, weights):
    task = make_translator(BeamSearch(2, max_new_tokens=9), build=small_transformer)
    options = {} if weights == "float32" else {"weights": weights, "allow_loss": True}
    said = task.export(tmp_path / "new", "tflite", SENTENCES, steps=True, **options)
    assert said["steps_agreement"]["answers"] == 10
    assert said["steps_agreement"]["equal"] >= (10 if weights == "float32" else 8)
