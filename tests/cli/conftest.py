"""Fixtures of the tests of the commands: small parallel files, and a task trained on them."""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import pytest

from keras_attention.cli import main

ANIMALS = {"dog": "hund", "cat": "katze", "bird": "vogel", "horse": "pferd"}
COLORS = {"big": "groß", "small": "klein", "black": "schwarz", "white": "weiß", "old": "alt"}
PAIRS = [
    (f"the {animal} is {color} .", f"{tier} ist {farbe} .")
    for animal, tier in ANIMALS.items()
    for color, farbe in COLORS.items()
]


class Files(NamedTuple):
    source: Path
    target: Path
    options: list  # of `train`, without --output


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    source, target = folder / "train.en", folder / "train.de"
    for path, side in ((source, 0), (target, 1)):
        path.write_text("".join(f"{pair[side]}\n" for pair in PAIRS * 10), encoding="utf-8")
    data = f"--source {source} --target {target} --valid-source {source} --valid-target {target}"
    small = "--tokenizer bpe --vocabulary-size 50 --units 16 --embedding-dim 16 --batch-size 50"
    return Files(source, target, f"{data} {small} --max-length 20".split())


@pytest.fixture(scope="session")
def trained(files, tmp_path_factory) -> tuple[Path, str]:
    """The folder that `train` wrote, and its standard output."""
    from exports import write_once

    def train(folder):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert main(["train", *files.options, "--output", str(folder), "--epochs", "1"]) == 0
        return printed.getvalue()

    return write_once(tmp_path_factory, "trained", train)


@pytest.fixture
def model(trained) -> str:
    return str(trained[0])


@pytest.fixture(scope="session")
def task(trained):
    from keras_attention.tasks import Translator

    return Translator.load(trained[0])


@pytest.fixture
def error_of(capsys):
    """Runs an invalid command line and returns its one-line error message."""

    def run(*arguments) -> str:
        try:
            assert main(list(map(str, arguments))) == 2
        except SystemExit as stop:  # an error of argparse
            assert stop.code == 2
        stderr = capsys.readouterr().err
        lines = [line for line in stderr.splitlines() if not line.startswith(("usage:", " "))]
        assert len(lines) == 1, stderr
        assert lines[0].startswith("keras-attention")
        return lines[0]

    return run
