"""A captioner returns the same in Keras, as a SavedModel and as a TFLite file."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_attention.export import ExportError
from keras_attention.export.tflite import writer
from keras_attention.export.tflite.flatbuffer import read_model
from keras_attention.generation import BeamSearch
from keras_attention.layers import ResidualCNN
from keras_attention.models import captioner
from keras_attention.tasks import Captioner, ModelRunner, load_exported
from keras_attention.text import WordPieceTokenizer

pytestmark = pytest.mark.slow(cases=1)

WORDS = WordPieceTokenizer.train(["a red circle", "two blue squares"], 60)
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, shape).astype("uint8") for shape in [(20, 30, 3)] * 2 + [(9, 9, 1)]]
KINDS = {
    "soft": {"attention": "soft"},
    "transformer": {"decoder": "transformer"},
    "hard": {"attention": "hard"},
    "luong": {"attention": "luong"},
    "no attention": {"attention": None},
}


@pytest.fixture(
    scope="module",
    params=[*KINDS],
)
def task(request):
    backbone = ResidualCNN((8, 12))
    sizes = {"hidden_dim": 8, "num_heads": 2}
    model = captioner(
        WORDS.vocabulary_size, (16, 24), backbone=backbone, **sizes, **KINDS[request.param]
    )
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.6, weight.shape))
    # Changes the moving statistics of batch normalization.
    model.encoder(np.stack([IMAGES[0][:16, :24]] * 2), training=True)
    return Captioner(model, WORDS, BeamSearch(3, num_return_sequences=2, max_new_tokens=5))


@pytest.fixture(scope="module")
def exported(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    return folder, task.export(folder, samples=IMAGES)


@pytest.fixture(scope="module")
def phone(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone")
    return folder, task.export(folder, "tflite", IMAGES)


def test_a_saved_model_reads_image_files(task, exported):
    folder, report = exported
    assert report["agreement"]["equal"] == report["agreement"]["compared"] == 16
    assert json.loads((folder / "1" / "verification.json").read_text())["task"] == "Captioner"
    best = tf.saved_model.load(str(folder / "1")).signatures["serving_default"]
    assert list(best.structured_input_signature[1]) == ["image_bytes"]
    data = [tf.io.encode_png(image).numpy() for image in IMAGES]
    outputs = best(image_bytes=tf.constant(data))
    assert [text.decode() for text in outputs["text"].numpy()] == task(IMAGES)
    np.testing.assert_allclose(
        outputs["score"].numpy(), [each[0].score for each in task.generate(IMAGES)], atol=1e-4
    )


def test_details_have_attention_over_the_grid(task, exported):
    folder, _ = exported
    details = tf.saved_model.load(str(folder / "1")).signatures["details"]
    outputs = details(image_bytes=tf.constant([tf.io.encode_png(IMAGES[0]).numpy()]))
    alignment = task.attention(IMAGES[0])
    weights = outputs["attention"].numpy()[0, 0, : len(alignment.target)]
    np.testing.assert_allclose(weights, alignment.weights, atol=1e-5)
    tokens = [token.decode() for token in outputs["target_tokens"].numpy()[0, 0]]
    assert tokens[: len(alignment.target)] == alignment.target


def test_loaded_exports_work_like_the_task(task, exported, phone, tmp_path):
    assert phone[1]["agreement"]["compared"] == 16
    path = tmp_path / "image.png"
    path.write_bytes(tf.io.encode_png(IMAGES[2]).numpy())
    images = [IMAGES[0], tf.io.encode_png(IMAGES[1]).numpy(), path]
    for folder in (exported[0], phone[0]):
        loaded = load_exported(folder)
        assert loaded(images) == task(images)
        assert loaded(path) == task(IMAGES[2])


def test_a_saved_model_without_tokenizer(task, tmp_path):
    report = task.export(tmp_path, samples=IMAGES, tokenizer=False)
    assert report["agreement"]["equal"] == report["agreement"]["compared"] == 16
    assert report["tensorflow_text_operations"] == []
    assert load_exported(tmp_path)(IMAGES) == task(IMAGES)


def test_samples_must_be_images(task, tmp_path):
    for images in ([], ["nowhere.png"], [b"no image"]):
        with pytest.raises(ValueError, match="(?i)image.* Received: "):
            task.export(tmp_path / "new", samples=images)
    assert not (tmp_path / "new").exists()


def test_disagreement_deletes_the_export(task, phone, tmp_path, monkeypatch):
    file = (phone[0] / "model.tflite").read_bytes()
    monkeypatch.setattr(writer, "add_metadata", lambda *_: None)  # it has it
    monkeypatch.setattr(writer, "convert", lambda *_: read_model(file))  # the same, and faster
    run = ModelRunner.__call__

    def other(self, model_inputs, details=False):
        outputs = run(self, model_inputs, details)
        return {**outputs, "scores": outputs["scores"] - 1.0}

    monkeypatch.setattr(ModelRunner, "__call__", other)
    with pytest.raises(ExportError, match="what the model returns for b'.x89PNG"):
        task.export(tmp_path / "new", "tflite", IMAGES[:1])
    assert not (tmp_path / "new").exists()
