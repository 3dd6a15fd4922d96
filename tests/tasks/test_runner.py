"""The compiled classifier of a task after a change of its layers."""

import keras
import numpy as np
import pytest

from keras_attention.tasks.runner import ModelRunner
from keras_attention.training import enable_lora

IDS = np.array([[5, 6, 4, 2], [6, 2, 0, 0]])


def lora(model):
    enable_lora(model, 2)
    for i, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(i).normal(size=weight.shape))


def quantize(model):
    model.quantize("int8", filters=lambda layer: isinstance(layer, keras.layers.Dense))


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("change", [lora, quantize])
@pytest.mark.parametrize("kind", ["label", "tags"])
def test_probabilities_follow_the_layers(make_labeler, kind, change):
    model = make_labeler(kind, ["a", "b", "c"]).model
    runner = ModelRunner(model)
    before = runner(IDS)["probabilities"]
    change(model)
    after = runner(IDS)["probabilities"]
    expected = np.asarray(model(IDS), "float64")
    expected = np.exp(expected) / np.exp(expected).sum(-1, keepdims=True)
    np.testing.assert_allclose(after, expected, atol=1e-5)
    assert np.abs(after - before).max() > 1e-4  # else the test would show nothing
