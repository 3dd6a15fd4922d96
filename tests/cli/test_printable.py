import io
import json

import pytest

from keras_attention.cli import main
from keras_attention.cli.printable import print_output, printable


@pytest.mark.parametrize(
    "text, expected",
    [
        ("schön 漢字 ▁", "schön 漢字 ▁"),
        ("two\nlines\r\nmore", "two lines more"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("right \u202e to left", "right \\u202e to left"),
        ("\ud800", "\\ud800"),
    ],
)
def test_printable(text, expected):
    assert printable(text) == expected


def test_output_is_escaped_for_terminals_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, expected in ((io.StringIO(), "1\t\x1b[31m\n"), (Terminal(), "1\t\\x1b[31m\n")):
        monkeypatch.setattr("sys.stdout", stream)
        print_output("\x1b[31m", "1\t")
        assert stream.getvalue() == expected


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(tmp_path, capsys):
    (tmp_path / "model.keras").write_bytes(b"")
    (tmp_path / "task.json").write_text(json.dumps({"task": "\x1b[31m\nred"}))
    assert main(["generate", str(tmp_path), "text"]) == 2
    stderr = capsys.readouterr().err
    assert "\x1b" not in stderr and stderr.count("\n") == 1
    assert str(tmp_path / "task.json") in stderr
