"""A Marian model in transformers.js: 20 sentences, alone and in a batch, also in Chromium."""

import pytest

from keras_attention.generation import GreedySearch
from keras_attention.tasks import Translator, load_exported
from transformers_js import in_chromium, in_node, run_page, translate

pytestmark = [pytest.mark.tensorflow_only, pytest.mark.slow]


@pytest.fixture(scope="module")
def texts(opus):
    return [source for source, _ in opus.pairs[::10]] + [text.strip() for text in opus.texts[:10]]


@pytest.fixture(scope="module")
def exported(opus, texts, tmp_path_factory):
    """The export and the translations by the model."""
    folder = tmp_path_factory.mktemp("marian") / "export"
    strategy = GreedySearch(max_new_tokens=25, force_end=True)
    translator = Translator.from_marian(opus.folder, strategy, max_source_length=40)
    translator.export(folder, "transformers_js", texts)
    return folder, translator(texts)


def test_onnx_runtime(exported, texts):
    folder, expected = exported
    assert load_exported(folder)(texts) == expected
    assert len(set(expected)) > 5


@in_node
def test_transformers_js(exported, texts):
    folder, expected = exported
    assert len(texts) == 20
    assert translate(folder, texts) == expected
    assert [translate(folder, [text])[0] for text in texts[:3]] == expected[:3]


@in_chromium
def test_in_chromium(exported, texts):
    folder, expected = exported
    assert run_page(folder, texts) == expected
