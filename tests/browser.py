"""Marks of tests that need the npm packages of `examples/`, and Chromium on its pages."""

import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from keras_attention.ops.ids import END

WEB = Path(__file__).parents[1] / "examples" / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NODE = shutil.which("node")


def needs_node(folder):
    """Marks tests that run the packages of a folder of `examples/` under Node.js."""
    return _marks(_installed(folder), pytest.mark.skipif(not NODE, reason="needs Node.js"))


def needs_chromium(folder):
    """Marks tests that open the page of a folder of `examples/`."""
    return _marks(_installed(folder), pytest.mark.skipif(not CHROMIUM, reason="needs Chromium"))


def _installed(folder):
    missing = not (folder / "node_modules").is_dir()
    return pytest.mark.skipif(missing, reason=f"needs `npm install` in examples/{folder.name}")


def _marks(*marks):
    return [pytest.mark.javascript, pytest.mark.tensorflow_only, *marks]


def decorator(marks):
    """Returns a decorator that marks a test."""

    def mark(test):
        for each in marks:
            test = each(test)
        return test

    return mark


@contextmanager
def chromium():
    """Yields the browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@contextmanager
def serve(model, page):
    """Yields the address of a page with a model, from the example's server."""
    command = [sys.executable, str(WEB / "serve.py"), str(model), "--page", str(page)]
    command += ["--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.communicate()


@contextmanager
def opened(browser, model, folder=WEB):
    """Yields the page of a folder when it has loaded, or failed to load, a model."""
    with serve(model, folder) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function(
            "document.getElementById('status').innerText != 'Loading the model…'"
        )
        yield page
        page.close()


def short_and_long(texts):
    """Returns the texts so that their lengths go up and down."""
    by_length = sorted(texts, key=len)
    half = len(texts) // 2
    pairs = zip(by_length[:half], by_length[::-1][:half], strict=True)
    return [text for pair in pairs for text in pair]


def generate(page, texts):
    """Generates with the translator of the page."""
    return page.evaluate(
        """async (texts) => {
            const translator = await (await import("/page.js")).loading;
            const results = [];
            for (const text of texts) results.push(await translator.generate(text));
            return results;
        }""",
        texts,
    )


CALL_TOKENIZERS = """async ([folders, texts]) => {
    const { loadTokenizer } = await import("/tokenizers.js");
    const results = {};
    for (const folder of folders) {
        const tokenizer = await loadTokenizer(`model/${folder}`);
        results[folder] = texts.map((text) => {
            const ids = tokenizer.encode(text);
            return [ids, tokenizer.encode(text, 5), tokenizer.decode(ids)];
        });
    }
    return results;
}"""


def check_tokenizers(page, tokenizers, texts):
    """Compares tokenizers in the folder of the page's model with those of Python.

    Args:
        page: the page.
        tokenizers: the tokenizers by the name of their folder.
        texts: texts to encode and decode.
    """
    results = page.evaluate(CALL_TOKENIZERS, [list(tokenizers), texts])
    for name, tokenizer in tokenizers.items():
        for text, (ids, truncated, decoded) in zip(texts, results[name], strict=True):
            assert ids == tokenizer.encode([text])[0].numpy().tolist(), (name, text)
            assert truncated == tokenizer.encode([text], 5)[0].numpy().tolist(), (name, text)
            assert decoded == tokenizer.detokenize([ids]).numpy()[0].decode(), (name, text)


def check_results(results, texts, exported):
    """Compares results of the page with those of `Interpreter` and `CompiledModel` in Python."""
    from keras_attention.export.tflite.compiled_model import CompiledModelRunner

    sources = np.asarray(exported.preprocessor(texts).model_inputs)
    expected = exported.runner.call("details", {"source": sources})  # of `Interpreter`
    compiled = CompiledModelRunner(exported.runner.path).call("details", {"source": sources})
    np.testing.assert_array_equal(compiled["ids"], expected["ids"])
    assert [result["text"] for result in results] == exported(texts)
    for i, result in enumerate(results):
        ids, source = result["ids"], result["sourceIds"]
        assert ids == expected["ids"][i, 0, : len(ids)].tolist() and ids[-1] == END
        assert source == sources[i, : len(source)].tolist() and source[-1] == END
        assert result["score"] == pytest.approx(expected["scores"][i, 0], abs=1e-3)
        weights = expected["attention"][i, 0, : len(ids), : len(source)]
        np.testing.assert_allclose(result["attention"], weights, atol=1e-3)
