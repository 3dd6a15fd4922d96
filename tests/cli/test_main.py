import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_attention.cli import main, parse

pytestmark = pytest.mark.tensorflow_only
COMMANDS = ["demo", "train", "generate", "evaluate", "attention", "export"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"keras-attention {command} " in shown[shown.index("Example") :]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("  -"):
            explained = "  " in line.strip() or following.startswith(" " * 20)
            assert explained, line


def test_the_list_of_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"    {command}" in shown for command in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        "generate folder --beam 2 one two",
        "generate folder one two --beam 2",
        "generate folder one --beam 2 two",
        "generate --beam 2 folder one two",
    ],
)
def test_options_and_texts_come_in_any_order(words):
    options = parse(words.split())
    assert (options.texts, options.beam) == (["one", "two"], 2)


def test_a_text_may_begin_with_a_dash():
    assert parse(["generate", "folder", "--beam", "2", "- hello"]).texts == ["- hello"]


@pytest.mark.parametrize(
    "words, said",
    [
        ("", "the following arguments are required: COMMAND"),
        ("translate", "invalid choice: 'translate'"),
        ("generate folder --nonsense x", "unrecognized arguments: --nonsense x"),
        ("attention folder a b --output c.png", "unrecognized arguments: b"),
        ("generate folder --beam 0 x", "expected a whole number from 1 on. Received: '0'"),
        ("generate folder --max-length -3 x", "expected a whole number from 1 on. Received: '-3'"),
        ("generate folder --length-penalty nan x", "a number from 0 on. Received: 'nan'"),
        ("export folder --count 1.5", "expected a whole number from 1 on. Received: '1.5'"),
    ],
)
def test_wrong_command_lines(words, said, refused):
    assert said in refused(*words.split())


def test_the_command_shows_no_log_of_tensorflow(tmp_path):
    command = [Path(sys.executable).with_name("keras-attention"), "generate", "nowhere", "text"]
    quiet = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "keras-attention: Expected a folder that 'train' wrote, or a Marian model's. "
        "Received: 'nowhere'\n"
    )
    assert done.stdout == ""
