"""Exports in transformers.js, run by examples/transformers_js/translate.mjs."""

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
    done = subprocess.run(
        ["node", str(EXAMPLE / "translate.mjs"), str(folder)],
        input="\n".join(texts) + "\n", capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout.removesuffix("\n").split("\n")
