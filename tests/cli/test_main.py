import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_attention.cli import main, parse

pytestmark = pytest.mark.tensorflow_only
COMMANDS = ["demo", "train", "generate", "evaluate", "attention", "export", "verify", "serve"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"keras-attention {command} " in shown[shown.index("Example") :]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("  -"):
            explained = "  " in line.strip() or following.startswith(" " * 20)
            assert explained, line


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"    {command}" in shown for command in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        "generate folder --num-beams 2 one two",
        "generate folder one two --num-beams 2",
        "generate folder one --num-beams 2 two",
        "generate --num-beams 2 folder one two",
    ],
)
def test_options_and_texts_in_any_order(words):
    options = parse(words.split())
    assert (options.texts, options.num_beams) == (["one", "two"], 2)


def test_text_may_begin_with_a_dash():
    assert parse(["generate", "folder", "--num-beams", "2", "- hello"]).texts == ["- hello"]


@pytest.mark.parametrize(
    "words, message",
    [
        ("", "the following arguments are required: COMMAND"),
        ("translate", "invalid choice: 'translate'"),
        ("generate folder --nonsense x", "unrecognized arguments: --nonsense x"),
        ("attention folder a b --output c.png", "unrecognized arguments: b"),
        ("generate folder --num-beams 0 x", "must be an integer of at least 1. Received: '0'"),
        (
            "generate folder --max-new-tokens -3 x",
            "must be an integer of at least 1. Received: '-3'",
        ),
        ("generate folder --length-penalty nan x", "must be a number at least 0. Received: 'nan'"),
        ("export folder --num-samples 1.5", "must be an integer of at least 1. Received: '1.5'"),
    ],
)
def test_invalid_command_lines(words, message, error_of):
    assert message in error_of(*words.split())


@pytest.mark.slow
def test_command_silences_the_log_of_tensorflow(tmp_path):
    command = [Path(sys.executable).with_name("keras-attention"), "generate", "nowhere", "text"]
    quiet = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "keras-attention: The model must be the folder of a trained task or of a Marian model. "
        "Received: 'nowhere'\n"
    )
    assert done.stdout == ""


def test_parser_imports_neither_keras_nor_the_package():
    script = """
import sys
sys.argv = ["keras-attention", "train", "--help"]
import _keras_attention_cli
try:
    _keras_attention_cli.main()
finally:
    print("IMPORTED", *{"keras", "keras_attention", "numpy"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["IMPORTED"]
