"""Runs the Python of README.md and docs/, and the shown commands' `--help`, as a reader would.

Blocks marked `py`, not `python`, need files of the reader's own and are not run.
"""

import re
from pathlib import Path

import pytest

from _keras_attention_cli.parser import parse

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
DOCS = README.parent / "docs"
PAGES = (
    README,
    DOCS / "attention.md",
    DOCS / "captioning.md",
    DOCS / "classification.md",
    DOCS / "export.md",
    DOCS / "finetuning.md",
    DOCS / "generation.md",
    DOCS / "image_attention.md",
    DOCS / "mobile.md",
    DOCS / "models.md",
    DOCS / "normalization.md",
    DOCS / "serving.md",
    DOCS / "training.md",
)  # the others want text or images of the reader's own
SLOW = (
    "captioning",
    "classification",
    "export",
    "finetuning",
    "generation",
    "mobile",
    "models",
    "serving",
    "training",
)


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if page.stem in SLOW else page for page in PAGES],
    ids=lambda page: page.name,
)
def test_snippets_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").symlink_to(README.parent / "saved_models")
    snippets = blocks(page.read_text(encoding="utf-8"), "python")
    assert snippets
    names = {"__name__": "readme"}
    for number, snippet in enumerate(snippets, start=1):
        exec(compile(snippet, f"{page.name}, Python block {number}", "exec"), names)


def test_links_lead_to_files():
    for link in re.findall(r"\]\(([^)#]+)", TEXT):
        assert link.startswith("https://") or (README.parent / link).exists(), link


@pytest.mark.tensorflow_only
def test_commands_and_their_options_exist(capsys):
    shell = "".join(blocks(TEXT, "bash"))
    used = re.findall(r"keras-attention (\w+)((?:[^\n]*\\\n)*[^\n]*)", shell)
    assert {command for command, _ in used} >= {"demo", "train", "generate", "evaluate", "export"}
    for command in dict(used):
        with pytest.raises(SystemExit) as stop:
            parse([command, "--help"])
        assert not stop.value.code
        shown = capsys.readouterr().out
        for arguments in (rest for name, rest in used if name == command):
            for option in re.findall(r"(?<!\S)--[a-z-]+", arguments):
                assert option in shown, f"keras-attention {command} {option}"
