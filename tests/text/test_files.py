"""Tests of the text file readers: line ends, gzip, errors, lists of files and of lines."""

import gzip
from pathlib import Path

import pytest

from keras_attention.text.files import lines_of, read_lines


def test_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffeins\r\n\nzw\u2028ei\x85 \nletzte".encode())
    assert list(read_lines(path)) == ["eins", "", "zw\u2028ei\x85 ", "letzte"]


def test_gzip(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("grün\nrot\n".encode()))
    assert list(read_lines(str(path))) == ["grün", "rot"]


def test_invalid_utf8(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"ok\ngr\xfcn\n")
    with pytest.raises(
        ValueError, match=r"latin\.txt' must be UTF-8. Received: line 2, byte 3: b'gr"
    ):
        list(read_lines(path))


def test_missing(tmp_path):
    with pytest.raises(ValueError, match=r"Received: path='.*none\.txt'"):
        list(read_lines(tmp_path / "none.txt"))


def test_files_and_lines(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("a\n")
    second.write_text("b\n")
    assert list(lines_of(first)) == ["a"]
    assert list(lines_of(str(first))) == ["a"]
    assert list(lines_of([str(first), str(second)])) == ["a", "b"]
    assert list(lines_of([first, second])) == ["a", "b"]
    assert list(lines_of(["eine Zeile", "noch eine"])) == ["eine Zeile", "noch eine"]
    assert list(lines_of(line for line in [str(first)])) == [str(first)]
    with pytest.raises(ValueError, match="missing"):
        list(lines_of([str(first), str(tmp_path / "missing")]))
    with pytest.raises(ValueError, match="missing"):
        list(lines_of(Path("missing")))
    assert list(lines_of([])) == []
