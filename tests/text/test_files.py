"""Tests of the text file readers: line ends, gzip, errors, lists of files and of lines."""

import gzip
import os
import threading
from pathlib import Path

import pytest

from keras_attention.text.files import iterate_lines, read_lines
from keras_attention.utils.limits import limits


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
    assert list(iterate_lines(first)) == ["a"]
    assert list(iterate_lines(str(first))) == ["a"]
    assert list(iterate_lines([str(first), str(second)])) == ["a", "b"]
    assert list(iterate_lines([first, second])) == ["a", "b"]
    assert list(iterate_lines(["eine Zeile", "noch eine"])) == ["eine Zeile", "noch eine"]
    assert list(iterate_lines(line for line in [str(first)])) == [str(first)]
    with pytest.raises(ValueError, match="missing"):
        list(iterate_lines([str(first), str(tmp_path / "missing")]))
    with pytest.raises(ValueError, match="missing"):
        list(iterate_lines(Path("missing")))
    assert list(iterate_lines([])) == []


def test_truncated_and_damaged_gzip(tmp_path):
    path = tmp_path / "a.gz"
    whole = gzip.compress(("a man walks .\n" * 2000).encode())
    for content in (whole[: len(whole) // 2], whole[:30] + b"\0\0" + whole[32:], b"no gzip"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"must be a complete \.gz file. Received: '.*a\.gz'"):
            list(read_lines(path))


def test_gzip_bomb(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress((b"a" * 1023 + b"\n") * 2**15))
    with pytest.raises(ValueError, match=r"at most 100 times its size .* Received: '.*a\.gz'"):
        for _ in read_lines(path):
            pass


@pytest.mark.parametrize("name", ["long", "long.gz"])
def test_lines_are_limited(tmp_path, name, monkeypatch):
    monkeypatch.setattr(limits, "line_bytes", 5)
    path = tmp_path / name
    content = b"1234\n123456\n"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(ValueError, match=f"at most 5 bytes, .* Received: line 2 of '.*{name}'"):
        list(read_lines(path))


def test_named_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("one\ntwo\n",))
    writer.start()
    assert list(read_lines(path)) == ["one", "two"]
    writer.join()
