import pytest
import tensorflow as tf

from keras_attention.export import load_exported
from keras_attention.export.saved_model import writer as saved_model


def test_saved_model_equals_the_task(translator, tmp_path):
    saved_model.write_saved_model(translator, tmp_path / "small" / "3")
    (tmp_path / "small" / "2").mkdir()
    texts = ["bca", "", "x", "deed cab"]
    expected = translator.generate(texts)
    for folder in (tmp_path / "small", tmp_path / "small" / "3"):
        model = load_exported(folder)
        answers = model.generate(texts, batch_size=3)
        assert [[a.text for a in row] for row in answers] == [
            [a.text for a in row] for row in expected
        ]
        assert answers[1][0].score == pytest.approx(expected[1][0].score, rel=1e-5)
        assert model(texts) == [row[0].text for row in expected]
        assert model("bca") == expected[0][0].text
        assert model([]) == []


def test_a_folder_without_an_export(tmp_path):
    (tmp_path / "1").mkdir()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=r"expected a SavedModel, .* Received: '"):
            load_exported(folder)


def test_a_strangers_saved_model(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: x, input_signature=[tf.TensorSpec((), tf.float32)])
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(ValueError, match=r"'details' or 'ids'. Received: .*serving_default"):
        load_exported(tmp_path)


def test_a_strangers_tflite(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"")
    with pytest.raises(ValueError, match="Expected a JSON file"):
        load_exported(tmp_path)
    (tmp_path / "export.json").write_text('{"export": "tflite", "format": 0}')
    with pytest.raises(ValueError, match="tflite export of format 1. Received: .*'format': 0"):
        load_exported(tmp_path)
