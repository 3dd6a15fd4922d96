"""Exports of what was trained with LoRA, or quantized by Keras; each export proves itself."""

import numpy as np
import pytest

from keras_attention.export import ExportError, export_saved_model, export_tflite
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
@pytest.mark.parametrize("export", [export_saved_model, export_tflite])
def test_lora_is_in_the_export(task, tmp_path, export):
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
    said = export(task, tmp_path / "out", TEXTS)  # raises where it does not say what the task says
    assert said["agreement"]["equal"] == said["agreement"]["answers"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_int8_goes_to_a_saved_model_and_not_to_tflite(task, tmp_path):
    task.model.quantize("int8")
    said = export_saved_model(task, tmp_path / "serving", TEXTS)
    assert said["agreement"]["equal"] == said["agreement"]["answers"] > 0
    with pytest.raises(ExportError, match="built-in operations"):
        export_tflite(task, tmp_path / "phone", TEXTS)
    assert not (tmp_path / "phone").exists()
