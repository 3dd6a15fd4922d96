"""Exports in transformers.js, run by the scripts and the page in examples/transformers_js/."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from browser import chromium, decorator, needs_chromium, needs_node, opened

EXAMPLE = Path(__file__).parents[1] / "examples" / "transformers_js"

in_node = decorator(needs_node(EXAMPLE))
in_chromium = decorator(needs_chromium(EXAMPLE))


def translate(folder: Path, texts: Sequence[str]) -> list[str]:
    """Returns the outputs for texts without line breaks, run as one batch."""
    return _run("translate.mjs", folder, texts)


def generate(folder: Path, prompts: Sequence[str]) -> list[str]:
    """Returns the continuations of prompts without line breaks, run as one batch."""
    return _run("generate.mjs", folder, prompts)


def run_page(folder: Path, texts: Sequence[str]) -> list[str]:
    """Returns the outputs for texts in Chromium, each run alone."""
    with chromium() as browser, opened(browser, folder, EXAMPLE) as page:
        assert page.inner_text("#status") == "The model is loaded."
        return page.evaluate(
            """async (texts) => {
                const generate = await (await import("/page.js")).loading;
                const outputs = [];
                for (const text of texts) outputs.push(await generate(text));
                return outputs;
            }""",
            texts,
        )


def _run(script, folder, texts):
    done = subprocess.run(
        ["node", str(EXAMPLE / script), str(folder)],
        input="\n".join(texts) + "\n", capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout.removesuffix("\n").split("\n")
