"""The page of examples/web in Chromium: ids and texts equal Python's for the same export."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

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

pytestmark = needs_chromium(WEB)

DATES = Path(__file__).parents[2] / "saved_models" / "dates"
# Characters that UTF-16, Unicode normalization, lower case or SentencePiece could treat specially.
ODD_TEXTS = [
    "a\0b",
    "",
    " ",
    "  two  spaces ",
    "a\tb\nc\r\nd\x0be\x0cf",
    "no-break\u00a0space, ideographic\u3000space",
    "▁ a▁b ▁",
    "Ä\u0308 A\u0308 e\u0301\u0323",
    "combining first: \u0301a",
    "İstanbul IıŞ",
    "ΟΔΥΣΣΕΥΣ ΣΑΣ. Σ",
    "STRASSE Straße ẞ",
    "ﬁne Ｔext ①",
    "😀😀 𝒳 𐐀",
    "👩‍👩‍👧 family, 🇩🇪",
    "unknown 漢字漢字 and 漢 字",
    "[END] [PAD] <s>",
    "\x01 \x7f \ufeff \u200b \ufffd",
    "한국어 조합",
    "हिन्दी कि",
    "\u2126 \u212b \u1e9b\u0323",
]


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def dates_page(browser):
    with opened(browser, DATES / "tflite-int8") as page:
        yield page


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-int8"])
def test_outputs_equal_those_of_both_apis_of_litert(browser, name):
    from keras_attention.tasks import load_exported

    texts = short_and_long((DATES / "samples.txt").read_text("utf-8").splitlines())
    assert len(texts) == 20
    with opened(browser, DATES / name) as page:
        check_results(generate(page, texts), texts, load_exported(DATES / name))


def test_page_shows_output_and_attention(dates_page):
    dates_page.fill("#text", "3 March 98")
    dates_page.press("#text", "Enter")
    dates_page.wait_for_selector("#output:text('1998-03-03')")
    assert " ms for 11 tokens" in dates_page.inner_text("#facts")
    assert dates_page.is_hidden("#message")
    columns = dates_page.locator(".heatmap thead th").all_inner_texts()
    assert columns == [*"3␣march␣98", "[END]"]
    assert dates_page.locator(".heatmap tbody th").all_inner_texts() == [*"1998-03-03", "[END]"]
    (result,) = generate(dates_page, ["3 March 98"])
    cells = dates_page.locator(".heatmap tbody td")
    labels = [float(cell.get_attribute("aria-label")) for cell in cells.all()]
    np.testing.assert_allclose(labels, np.ravel(result["attention"]), atol=0.0051)


def test_example_is_run(dates_page):
    dates_page.click("#examples button:text-is('19631226')")
    dates_page.wait_for_selector("#output:text('1963-12-26')")


def test_what_is_not_read_of_a_text_is_shown(dates_page):
    dates_page.fill("#text", "3 march 98 ☃" + 30 * "😀 ")
    dates_page.click("#run")
    dates_page.wait_for_selector("#message:visible")
    assert dates_page.inner_text("#message").splitlines() == [
        "Not in the vocabulary, read as [UNK]: ☃😀 (U+2603 U+1F600), 😀 (U+1F600)",
        "The text has 71 tokens; only the first 39 are read.",
    ]


def test_all_tensors_are_deleted(dates_page):
    deleted = dates_page.evaluate(
        """async () => {
            const translator = await (await import("/page.js")).loading;
            const runner = translator.model.signatures[translator.signature];
            const tensors = [];
            const run = runner.run;
            runner.run = async function (inputs) {
                const outputs = await run.call(this, inputs);
                tensors.push(...Object.values(inputs), ...Object.values(outputs));
                return outputs;
            };
            await translator.generate("3 march 98");
            runner.run = run;
            return tensors.map((tensor) => tensor.deleted);
        }"""
    )
    assert deleted == 4 * [True]  # source; ids, scores, attention


def test_tokenizers_equal_pythons(browser, tmp_path):
    from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer

    known = [text for text in ODD_TEXTS if "unknown" not in text]
    tokenizers = {}
    for lowercase, normalization in itertools.product((False, True), ("NFC", "NFKC", None)):
        options = {"lowercase": lowercase, "normalization": normalization}
        tokenizers[f"characters-{lowercase}-{normalization}"] = CharacterTokenizer.train(
            known, **options
        )
        tokenizers[f"pieces-{lowercase}-{normalization}"] = SentencePieceTokenizer.train(
            3 * known, 160, **options
        )
    for name, tokenizer in tokenizers.items():
        tokenizer.save(tmp_path / name)
    (tmp_path / "export.json").write_text("{}")
    with opened(browser, tmp_path) as page:
        check_tokenizers(page, tokenizers, ODD_TEXTS)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"static_shape": None}, "must be a TFLite export of static shapes"),
        ({"task": "TextGenerator"}, "must be a Translator. Received: TextGenerator"),
        ({}, "model/model.tflite was not found"),
    ],
)
def test_invalid_models_are_refused(browser, tmp_path, changes, message):
    for folder in ("source", "target"):
        shutil.copytree(DATES / "tflite-int8" / folder, tmp_path / folder)
    about = json.loads((DATES / "tflite-int8" / "export.json").read_text())
    (tmp_path / "export.json").write_text(json.dumps(about | changes))
    with opened(browser, tmp_path) as page:
        assert page.inner_text("#status") == "The model could not be loaded."
        assert message in page.inner_text("#message")
        assert page.is_disabled("#run")


def test_other_tokenizers_are_refused(browser, tmp_path):
    shutil.copytree(DATES / "tflite-int8", tmp_path / "export")
    (tmp_path / "export" / "source" / "tokenizer.json").write_text('{"class_name": "Words"}')
    with opened(browser, tmp_path / "export") as page:
        message = page.inner_text("#message")
    assert message == (
        "The tokenizer must be one of CharacterTokenizer, MarianTokenizer, SentencePieceTokenizer. "
        "Received: Words"
    )


def test_other_ids_than_the_recorded_ones_are_reported(browser, tmp_path):
    shutil.copytree(DATES / "tflite-int8", tmp_path / "export")
    path = tmp_path / "export" / "samples.json"
    recorded = json.loads(path.read_text())
    recorded["inputs"][0]["source"][0][0] += 1
    path.write_text(json.dumps(recorded))
    with opened(browser, tmp_path / "export") as page:
        page.wait_for_selector("#message:visible")
        message = page.inner_text("#message")
    assert "other ids than Python's for 1 of 8 recorded texts" in message


def test_server_refuses_a_folder_without_export(tmp_path):
    command = [sys.executable, str(WEB / "serve.py"), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    assert f"must be the folder of an export. Received: {tmp_path}" in ran.stderr
