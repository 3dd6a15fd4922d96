"""Exports of models that were trained with LoRA or quantized by Keras."""

import numpy as np
import pytest

from keras_attention.export import ExportError
from keras_attention.models import classifier
from keras_attention.tasks import TextClassifier
from keras_attention.text import CharacterTokenizer
from keras_attention.training import enable_lora

TEXTS = ["abc", "a", "hgfedcba"]


@pytest.fixture
def task():
    letters = CharacterTokenizer.train(["abcdefgh"])
    model = classifier(
        letters.vocabulary_size, 3, num_layers=1, hidden_dim=16, intermediate_dim=16, num_heads=2
    )
    return TextClassifier(model, letters, ["x", "y", "z"], max_source_length=16)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_an_export_includes_lora(task, tmp_path, format):
    before = task.classify(TEXTS)
    enable_lora(task.model.encoder, rank=2)
    rng = np.random.default_rng(0)
    for variable in task.model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    after = task.classify(TEXTS)
    assert (
        max(abs(a[0].probability - b[0].probability) for a, b in zip(before, after, strict=True))
        > 0.05
    )
    report = task.export(tmp_path / "out", format, TEXTS)  # raises if it disagrees with the task
    assert report["agreement"]["equal"] == report["agreement"]["compared"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_keras_int8_converts_to_a_saved_model_only(task, tmp_path):
    task.model.quantize("int8")
    report = task.export(tmp_path / "serving", samples=TEXTS)
    assert report["agreement"]["equal"] == report["agreement"]["compared"] > 0
    with pytest.raises(ExportError, match="built-in operations"):
        task.export(tmp_path / "phone", "tflite", TEXTS)
    assert not (tmp_path / "phone").exists()
