"""Loaded exports and transformers.js: the results of greedy search with the model."""

import concurrent.futures

import numpy as np
import pytest

from helpers import model_inputs
from keras_attention.decoders import TransformerDecoder
from keras_attention.export.transformers_js.runner import TransformersJSRunner
from keras_attention.generation import GreedySearch
from keras_attention.layers import (
    DecoderBlock,
    EncoderBlock,
    RotaryEmbedding,
    TextEncoder,
    TokenEmbedding,
    TransformerEncoder,
    make_blocks,
)
from keras_attention.models import EncoderDecoder
from keras_attention.tasks import Translator, load_exported
from transformers_js import in_node, translate

pytestmark = pytest.mark.tensorflow_only
TEXTS = ["a", "bcade abba", "d", "", "deed abba c", "bca", "abba cab", "x", "ä", "a  b ", "漢字a"]


def test_translator(written, task):
    loaded = load_exported(written.folder)
    assert isinstance(loaded, Translator)
    assert loaded(TEXTS) == task(TEXTS)
    assert loaded.predict([]) == []
    expected, received = (each.runner(model_inputs(task, TEXTS)) for each in (task, loaded))
    np.testing.assert_array_equal(received["ids"], expected["ids"])
    np.testing.assert_allclose(received["scores"], expected["scores"], rtol=1e-4)
    with pytest.raises(ValueError, match="`strategy` needs the Keras model"):
        loaded.strategy = GreedySearch()
    with pytest.raises(ValueError, match="Attention weights need the Keras model or an export of"):
        loaded.attention("ab")


def test_threads_share_the_sessions(written, task):
    runner = TransformersJSRunner(written.folder)
    sources = [model_inputs(task, [text]) for text in TEXTS] * 3
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        received = list(pool.map(runner, sources))
    for source, outputs in zip(sources, received, strict=True):
        np.testing.assert_array_equal(outputs["ids"], task.runner(source)["ids"])


@pytest.fixture(scope="module")
def exported(make_translator, tmp_path_factory):
    """A translator with other options than Marian's, and its export."""

    def build(source, target):
        options = {"num_heads": 2, "intermediate_dim": 12, "norm_kind": "rms", "norm": "sandwich"}
        blocks = [
            make_blocks(each, 2, positions=RotaryEmbedding(), activation="swiglu", **options)
            for each in (EncoderBlock, DecoderBlock)
        ]
        encoder = TextEncoder(TokenEmbedding(source, 12), TransformerEncoder(blocks[0]))
        embedding = TokenEmbedding(target, 8, output="separate", output_bias=True)
        return EncoderDecoder(encoder, TransformerDecoder(embedding, blocks[1]))

    strategy = GreedySearch(max_new_tokens=40, force_end=True)
    task = make_translator(strategy, seed=6, build=build)
    folder = tmp_path_factory.mktemp("transformers_js") / "other"
    return task, folder, task.export(folder, "transformers_js", TEXTS)


@pytest.mark.slow
def test_other_options(exported):
    task, folder, report = exported
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    assert load_exported(folder)(TEXTS) == task(TEXTS)


@pytest.mark.slow
@in_node
def test_transformers_js(exported, written, task):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice([*"abcdeä 漢x"], rng.integers(16))) for _ in range(20)]
    for each, folder in ((task, written.folder), exported[:2]):
        expected = each(texts)
        assert translate(folder, texts) == expected
        assert len(set(expected)) > 3
