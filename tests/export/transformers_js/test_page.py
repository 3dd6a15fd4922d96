"""The page of examples/transformers_js: texts in Chromium equal those of the task."""

import pytest

from transformers_js import in_chromium, run_page

pytestmark = pytest.mark.slow


@in_chromium
def test_translator(written, task):
    texts = ["a", "bcade", "deed abba", "äx", "cab cab cab cab", "x y", ""]
    assert run_page(written.folder, texts) == task(texts)


@in_chromium
def test_language_model(written_generator, generator):
    prompts = ["ab", "cade bba", "e  d", "abcdabcdabcd", "äa"]
    assert run_page(written_generator.folder, prompts) == generator(prompts)
