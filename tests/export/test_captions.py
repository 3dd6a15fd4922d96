"""A captioner says the same as a SavedModel, from the bytes of files, and as a TFLite file."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_attention.export import ExportError, load_exported
from keras_attention.generation import BeamSearch
from keras_attention.layers import ResidualCNN
from keras_attention.models import captioner
from keras_attention.tasks import Captioner
from keras_attention.text import WordPieceTokenizer

WORDS = WordPieceTokenizer.train(["a red circle", "two blue squares"], 60)
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, shape).astype("uint8") for shape in [(20, 30, 3)] * 2 + [(9, 9, 1)]]
KINDS = ["soft", pytest.param("transformer", marks=pytest.mark.slow)]
KINDS += [pytest.param(kind, marks=pytest.mark.slow) for kind in ("hard", "luong", None)]


@pytest.fixture(scope="module", params=KINDS)
def task(request):
    grid = ResidualCNN((8, 12))
    model = captioner(
        WORDS.vocabulary_size, (16, 24), request.param, grid, hidden_dim=8, num_heads=2
    )
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.6, weight.shape))
    model.encoder(np.stack([IMAGES[0][:16, :24]] * 2), training=True)  # statistics of their own
    return Captioner(model, WORDS, BeamSearch(3, num_return_sequences=2, max_new_tokens=5))


@pytest.fixture(scope="module")
def saved_model(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    return folder, task.export(folder, sentences=IMAGES)


def test_the_saved_model_reads_bytes(task, saved_model):
    folder, said = saved_model
    assert said["agreement"]["equal"] == said["agreement"]["answers"] == 16
    assert json.loads((folder / "1" / "proof.json").read_text())["task"] == "Captioner"
    best = tf.saved_model.load(str(folder / "1")).signatures["serving_default"]
    assert list(best.structured_input_signature[1]) == ["image_bytes"]
    data = [tf.io.encode_png(image).numpy() for image in IMAGES]
    found = best(image_bytes=tf.constant(data))
    assert [text.decode() for text in found["text"].numpy()] == task(IMAGES)
    np.testing.assert_allclose(
        found["score"].numpy(), [each[0].score for each in task.generate(IMAGES)], atol=1e-4
    )


def test_the_details_say_where_on_the_grid(task, saved_model):
    folder, _ = saved_model
    details = tf.saved_model.load(str(folder / "1")).signatures["details"]
    found = details(image_bytes=tf.constant([tf.io.encode_png(IMAGES[0]).numpy()]))
    looked = task.attention(IMAGES[0])
    weights = found["attention"].numpy()[0, 0, : len(looked.target)]
    np.testing.assert_allclose(weights, looked.weights, atol=1e-5)
    tokens = [token.decode() for token in found["target_tokens"].numpy()[0, 0]]
    assert tokens[: len(looked.target)] == looked.target


def test_both_exports_are_called_like_the_task(task, saved_model, tmp_path):
    said = task.export(tmp_path / "phone", "tflite", IMAGES)
    assert said["agreement"]["answers"] == 16
    path = tmp_path / "image.png"
    path.write_bytes(tf.io.encode_png(IMAGES[2]).numpy())
    given = [IMAGES[0], tf.io.encode_png(IMAGES[1]).numpy(), path]
    for folder in (saved_model[0], tmp_path / "phone"):
        exported = load_exported(folder)
        assert exported(given) == task(given)
        assert exported(path) == task(IMAGES[2])


@pytest.mark.slow
def test_a_saved_model_of_pixels(task, tmp_path):
    said = task.export(tmp_path, sentences=IMAGES, tokenizer=False)
    assert said["agreement"]["equal"] == said["agreement"]["answers"] == 16
    assert said["tensorflow_text_operations"] == []
    assert load_exported(tmp_path)(IMAGES) == task(IMAGES)


def test_a_proof_needs_images(task, tmp_path):
    for images in ([], ["nowhere.png"], [b"no image"]):
        with pytest.raises(ValueError, match="image.* Received: "):
            task.export(tmp_path / "new", sentences=images)
    assert not (tmp_path / "new").exists()


def test_disagreement_leaves_nothing(task, tmp_path, monkeypatch):
    run = Captioner.run

    def other(self, source, details=False):
        found = run(self, source, details)
        return {**found, "scores": found["scores"] - 1.0}

    monkeypatch.setattr(Captioner, "run", other)
    with pytest.raises(ExportError, match="Expected the model's answer to b'.x89PNG"):
        task.export(tmp_path / "new", "tflite", IMAGES[:1])
    assert not (tmp_path / "new").exists()
