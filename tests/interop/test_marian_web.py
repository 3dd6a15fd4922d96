"""A Marian model in int8 in the browser, by the page of examples/web."""

import pytest

from browser import (
    REQUIREMENTS,
    check_results,
    check_tokenizers,
    chromium,
    generate,
    opened,
    short_and_long,
)

pytestmark = [*REQUIREMENTS, pytest.mark.slow]


@pytest.fixture(scope="module")
def exported(opus, tmp_path_factory):
    from keras_attention.tasks import Translator, load_exported

    folder = tmp_path_factory.mktemp("marian") / "export"
    translator = Translator.from_marian(opus.folder, max_source_length=40)
    samples = [text for text in opus.texts if text]
    translator.export(folder, "tflite", samples, weights="int8", static=(1, 40), allow_loss=True)
    return load_exported(folder)


@pytest.fixture(scope="module")
def page(exported):
    with chromium() as browser, opened(browser, exported.runner.path.parent) as page:
        yield page


def test_outputs_equal_those_of_both_apis_of_litert(page, exported, opus):
    sentences = [source for source, _ in opus.pairs]
    texts = [" ".join(sentences[i : i + 1 + i % 3]) for i in range(8)] + opus.texts
    texts = short_and_long(texts)
    assert len(texts) == 20
    results = generate(page, texts)
    check_results(results, texts, exported)
    assert len({result["text"] for result in results}) > 5


def test_tokenizers_equal_pythons(page, exported, opus):
    tokenizers = {
        "source": exported.preprocessor.tokenizer,
        "target": exported.postprocessor.tokenizer,
    }
    check_tokenizers(page, tokenizers, [*opus.texts, *(target for _, target in opus.pairs)])
