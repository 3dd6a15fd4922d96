"""Runs the Python of README.md and the shown commands' `--help`, in order, as a reader would."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
PYTHON = [block for language, block in BLOCKS if language == "python"]
SHELL = "".join(block for language, block in BLOCKS if language == "bash")


@pytest.mark.tensorflow_only
def test_snippets_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert PYTHON
    names = {"__name__": "readme"}
    for number, block in enumerate(PYTHON, start=1):
        exec(compile(block, f"README.md, Python block {number}", "exec"), names)


def test_links_lead_to_files():
    for link in re.findall(r"\]\(([^)#]+)", TEXT):
        assert link.startswith("https://") or (README.parent / link).exists(), link


@pytest.mark.tensorflow_only
def test_commands_and_their_options_exist():
    used = re.findall(r"keras-attention (\w+)((?:[^\n]*\\\n)*[^\n]*)", SHELL)
    assert {command for command, _ in used} >= {"demo", "train", "generate", "evaluate", "export"}
    for command in dict(used):
        help_command = [sys.executable, "-m", "keras_attention", command, "--help"]
        shown = subprocess.run(help_command, capture_output=True, text=True, check=True).stdout
        for arguments in (rest for name, rest in used if name == command):
            for option in re.findall(r"(?<!\S)--[a-z-]+", arguments):
                assert option in shown, f"keras-attention {command} {option}"
