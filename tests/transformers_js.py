"""Exports in transformers.js, run by the scripts in examples/transformers_js/."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "transformers_js"

needs_transformers_js = pytest.mark.skipif(
    not (shutil.which("node") and (EXAMPLE / "node_modules").is_dir()),
    reason="transformers.js needs Node.js and `npm install` in examples/transformers_js",
)


def translate(folder: Path, texts: Sequence[str]) -> list[str]:
    """Returns the outputs for texts without line breaks, run as one batch."""
    return _run("translate.mjs", folder, texts)


def generate(folder: Path, prompts: Sequence[str]) -> list[str]:
    """Returns the continuations of prompts without line breaks, run as one batch."""
    return _run("generate.mjs", folder, prompts)


def _run(script, folder, texts):
    done = subprocess.run(
        ["node", str(EXAMPLE / script), str(folder)],
        input="\n".join(texts) + "\n", capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout.removesuffix("\n").split("\n")
