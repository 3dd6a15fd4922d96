"""Captioner: images to text, saving and loading."""

import numpy as np
import pytest
import tensorflow as tf

from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.layers import Patches
from keras_attention.models import captioner
from keras_attention.tasks import Captioner
from keras_attention.text import WordPieceTokenizer

WORDS = WordPieceTokenizer.train(["a red circle", "two blue squares"], 60)
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (20, 30, 3)).astype("uint8") for _ in range(3)]


@pytest.fixture(scope="module")
def task():
    model = captioner(WORDS.vocabulary_size, (16, 24), backbone=Patches(8, 12), hidden_dim=8)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.6, weight.shape))
    return Captioner(model, WORDS, GreedySearch(max_new_tokens=5))


def test_paths_bytes_and_pixels_give_the_same_caption(task, tmp_path):
    captions = task(IMAGES)
    assert len(set(captions)) > 1
    data = [tf.io.encode_png(image).numpy() for image in IMAGES]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, data, strict=True):
        path.write_bytes(image)
    assert task(data) == task(paths) == task(list(map(str, paths))) == captions
    assert task(np.stack(IMAGES)) == captions
    assert [task(IMAGES[0]), task(data[0]), task(paths[0])] == [captions[0]] * 3
    assert task([]) == []


def test_hypotheses_have_scores_and_are_sorted(task):
    beam = Captioner(task.model, WORDS, BeamSearch(3, num_return_sequences=3, max_new_tokens=5))
    for results in beam.generate(IMAGES):
        scores = [result.score for result in results]
        assert len(results) == 3 and scores == sorted(scores, reverse=True)
    with pytest.raises(ValueError, match="`images` must be a list. Received: b'x"):
        task.generate(b"x")


def test_attention_is_a_grid_for_every_token(task):
    alignment = task.attention(IMAGES[1])
    assert alignment.image.shape == (16, 24, 3)
    assert alignment.weights.shape == (len(alignment.target), 2, 3)
    np.testing.assert_allclose(alignment.weights.sum((1, 2)), 1, atol=1e-5)
    ids = task.model.generate(alignment.image[None], GreedySearch(max_new_tokens=5)).ids[0, 0]
    assert WORDS.tokens(ids[: len(alignment.target)]) == alignment.target


def test_a_loaded_task_gives_the_same_captions(task, tmp_path):
    task.save(tmp_path / "task")
    loaded = Captioner.load(tmp_path / "task")
    assert loaded(IMAGES) == task(IMAGES) and loaded.image_size == (16, 24)
    beam = Captioner.load(tmp_path / "task", BeamSearch(2, max_new_tokens=4))
    assert repr(beam.strategy) == repr(BeamSearch(2, max_new_tokens=4))


def test_an_error_names_the_unreadable_image(task, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(tf.io.encode_jpeg(IMAGES[0]).numpy()[:200])
    with pytest.raises(
        ValueError, match="`image` must be a JPEG or PNG.* Received: '.*broken.jpg'"
    ):
        task([IMAGES[0], path])
    with pytest.raises(ValueError, match="`target_tokenizer` must have the model's"):
        Captioner(task.model, WordPieceTokenizer.train(["other words"], 40))
