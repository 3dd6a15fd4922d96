"""A Marian model in int8 in the browser, by the page of examples/web."""

import numpy as np
import pytest

from browser import (
    WEB,
    check_results,
    check_tokenizers,
    chromium,
    generate,
    needs_chromium,
    opened,
    short_and_long,
)

pytestmark = [*needs_chromium(WEB), pytest.mark.slow]


@pytest.fixture(scope="module")
def exported(opus, tmp_path_factory):
    from keras_attention.tasks import Translator, load_exported

    folder = tmp_path_factory.mktemp("marian") / "export"
    translator = Translator.from_marian(opus.folder, max_source_length=40)
    samples = [text for text in opus.texts if text]
    translator.export(
        folder, "tflite", samples, weights="int8", static=(1, 40), steps=True, allow_loss=True
    )
    return load_exported(folder)


@pytest.fixture(scope="module")
def page(exported):
    with chromium() as browser, opened(browser, exported.runner.path.parent) as page:
        yield page


@pytest.fixture(scope="module")
def texts(opus):
    sentences = [source for source, _ in opus.pairs]
    texts = [" ".join(sentences[i : i + 1 + i % 3]) for i in range(8)] + opus.texts
    assert len(texts) == 20
    return short_and_long(texts)


def test_outputs_equal_those_of_both_apis_of_litert(page, exported, texts):
    assert page.is_hidden("#message")  # the tokenizer gives the recorded ids
    results = generate(page, texts)
    check_results(results, texts, exported)
    assert len({result["text"] for result in results}) > 5


def test_steps_equal_those_of_litert(page, exported, texts):
    from keras_attention.export.tflite.step_runner import GreedyLoop, zeros_of_decode
    from keras_attention.generation import GreedySearch

    sources = np.asarray(exported.preprocessor(texts).model_inputs)
    details = exported.runner.interpreter.get_signature_runner("details").get_output_details()
    length = details["ids"]["shape"][2]
    zeros = zeros_of_decode(exported.runner)
    loop = GreedyLoop(exported.runner.call, GreedySearch(length), zeros, (1, 40))
    expected = [loop.generate(source[None])["ids"][0, 0] for source in sources]
    received = page.evaluate(
        """async (sources) => {
            const { model } = await (await import("/page.js")).loading;
            const { generateIds } = await import("/steps.js");
            const results = [];
            for (const source of sources) {
                const padded = new Int32Array(40);
                padded.set(source);
                const ids = [];
                for await (const id of generateIds(model, padded)) ids.push(id);
                results.push(ids);
            }
            return results;
        }""",
        sources.tolist(),
    )
    assert received == [ids[ids > 0].tolist() for ids in expected]
    assert len(set(map(tuple, received))) > 5


def test_tokenizers_equal_pythons(page, exported, opus):
    tokenizers = {
        "source": exported.preprocessor.tokenizer,
        "target": exported.postprocessor.tokenizer,
    }
    check_tokenizers(page, tokenizers, [*opus.texts, *(target for _, target in opus.pairs)])
