"""Loaded ONNX exports: the same task, with the same results."""

import concurrent.futures

import numpy as np
import pytest

from helpers import model_inputs
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.tasks import Translator, load_exported
from onnx_web import assert_equal_in_chromium, assert_equal_in_node, in_chromium, in_node
from small_transformers import build_transformer

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]
# Long after short and back, alone and together.
BATCHES = [["a"], ["bcade abba"], ["d"], ["cab", "", "deed abba c"], ["bca"], ["abba cab", "e"]]


def assert_equal(task, loaded):
    """Compares ids, scores and attention weights."""
    for texts in BATCHES:
        source = model_inputs(task, texts)
        expected, received = (each.runner(source, details=True) for each in (task, loaded))
        np.testing.assert_array_equal(received["ids"], expected["ids"])
        np.testing.assert_allclose(received["scores"], expected["scores"], rtol=1e-4)
        np.testing.assert_allclose(received["attention"], expected["attention"], atol=1e-5)


def test_translator(written, translator):
    loaded = load_exported(written.folder)
    assert isinstance(loaded, Translator)
    assert_equal(translator, loaded)
    texts = sum(BATCHES, [])
    assert loaded(texts) == translator(texts)
    assert loaded.predict([]) == []
    ours, theirs = translator.attention("bca"), loaded.attention("bca")
    assert (ours.source, ours.target) == (theirs.source, theirs.target)
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-5)
    assert set(loaded.runner(model_inputs(loaded, ["a"]))) == {"ids", "scores"}
    with pytest.raises(ValueError, match="`strategy` needs the Keras model"):
        loaded.strategy = GreedySearch()


def test_threads_share_a_session(written, translator):
    loaded = load_exported(written.folder)
    sources = [model_inputs(loaded, texts) for texts in BATCHES] * 4
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        received = list(pool.map(loaded.runner, sources))
    for source, outputs in zip(sources, received, strict=True):
        np.testing.assert_array_equal(outputs["ids"], translator.runner(source)["ids"])


@pytest.fixture(
    scope="module",
    params=[
        (GreedySearch(max_new_tokens=9), {}),
        (BeamSearch(4, max_new_tokens=9), {}),
        (Sampling(top_k=5, top_p=0.9, num_return_sequences=2, max_new_tokens=9), {}),
        # More than 32 tokens, the first length of the caches
        (GreedySearch(max_new_tokens=40), {"build": build_transformer}),
        (BeamSearch(4, max_new_tokens=40), {"build": build_transformer}),
    ],
    ids=[
        "RNN, greedy",
        "RNN, beams",
        "RNN, sampled",
        "Transformer, greedy",
        "Transformer, beams",
    ],
)
def exported(request, make_translator, samples, tmp_path_factory):
    strategy, options = request.param
    task = make_translator(strategy, **options)
    folder = tmp_path_factory.mktemp("onnx") / "new"
    return task, folder, task.export(folder, "onnx", samples)


def test_models_and_strategies(exported):
    task, folder, report = exported
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    assert_equal(task, load_exported(folder))


@in_node
def test_onnxruntime_web(exported, tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice([*"abcde "], rng.integers(12))) for _ in range(20)]
    assert_equal_in_node(exported[0], texts, exported[1], tmp_path)


@in_chromium
def test_onnxruntime_web_in_chromium(exported):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice([*"abcde "], rng.integers(12))) for _ in range(20)]
    assert_equal_in_chromium(exported[0], texts, exported[1])
