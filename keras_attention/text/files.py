"""Readers of text files, plain or gzip, with errors that name the file and the line."""

import codecs
import gzip
import itertools
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from keras_attention.utils.limits import MIB, limits

PathLike = str | os.PathLike
Pair = tuple[str, str]
GZIP_ALLOWANCE = 16 * MIB  # short texts of equal lines compress a thousandfold


def read_lines(path: PathLike) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 text file, without their line breaks.

    Lines end at `\n` or `\r\n` only, so that line numbers agree with those of other tools. A byte
    order mark at the start of the file is dropped.

    Args:
        path: Path of the file or of a named pipe. If it ends in `.gz`, it is read with gzip.

    Yields:
        One string per line.

    Raises:
        ValueError: If the file does not exist, is not UTF-8 or a damaged `.gz`, or exceeds
            `line_bytes` or `gzip_ratio` of `keras_attention.utils.limits`; the message names the
            file and the line.
    """
    name = str(path)
    if not os.path.exists(path) or os.path.isdir(path):
        raise ValueError(f"`path` must be an existing text file. Received: path={name!r}")
    if not name.endswith(".gz"):
        with open(path, "rb") as file:
            yield from decode_lines(file, name)
        return
    with open(path, "rb") as packed, gzip.GzipFile(fileobj=packed) as file:
        try:
            yield from _check_gzip_ratio(decode_lines(file, name), file, name)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"The file must be a complete .gz file. Received: {name!r} ({error})"
            ) from None


def _check_gzip_ratio(lines: Iterator[str], file: gzip.GzipFile, name: str) -> Iterator[str]:
    """Yields the lines, or raises a `ValueError` once they are far larger than the packed file."""
    most = GZIP_ALLOWANCE + limits.gzip_ratio * os.path.getsize(name)
    for line in lines:
        if file.tell() > most:
            raise ValueError(
                f"A .gz file must have at most {limits.gzip_ratio} times its size unpacked, the "
                f"`gzip_ratio` of `keras_attention.utils.limits`. Received: {name!r}"
            )
        yield line


def decode_lines(file: BinaryIO | gzip.GzipFile, name: str) -> Iterator[str]:
    """Yields decoded lines of a binary stream, such as `sys.stdin.buffer`, as `read_lines` does.

    Args:
        file: Binary stream.
        name: Name of the stream in error messages.

    Yields:
        One string per line.

    Raises:
        ValueError: If a line is not UTF-8 or longer than `limits.line_bytes`.
    """
    for number in itertools.count(1):
        line = file.readline(limits.line_bytes + 1)
        if not line:
            return
        if len(line) > limits.line_bytes:
            raise ValueError(
                f"A line must have at most {limits.line_bytes} bytes, the `line_bytes` of "
                f"`keras_attention.utils.limits`. Received: line {number} of {name!r}"
            )
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"The text of {name!r} must be UTF-8. Received: line {number}, byte "
                f"{error.start + 1}: {line[:80]!r}"
            ) from None


def iterate_lines(source: PathLike | Iterable[str | os.PathLike]) -> Iterator[str]:
    """Yields lines from a file, from several files, or from an iterable of lines.

    A single string or path is a file. A list or tuple is a list of files if it contains a `Path`,
    or if its first or last string names an existing file. Any other iterable is one of lines.

    Args:
        source: A path, a list of paths, or an iterable of strings.

    Yields:
        One string per line.

    Raises:
        ValueError: If a file is missing or not UTF-8.
    """
    if isinstance(source, str | os.PathLike):
        source = [Path(source)]
    if not isinstance(source, list | tuple):
        yield from source  # type: ignore[misc]  # lines
    elif any(isinstance(item, os.PathLike) for item in source) or _is_file_list(source):
        for path in source:
            yield from read_lines(path)
    else:
        yield from source  # type: ignore[misc]  # lines


def _is_file_list(names: list[str] | tuple[str, ...]) -> bool:
    """Returns True if the first or the last string is the path of an existing file or pipe."""
    ends = {*names[:1], *names[-1:]}
    return any(os.path.exists(name) and not os.path.isdir(name) for name in ends)


def read_parallel(source: PathLike, target: PathLike | None = None) -> list[Pair]:
    """Reads sentence pairs from two files aligned by line, or from one tab-separated file.

    Args:
        source: UTF-8 text file with one sentence per line. Without `target`, each line contains the
            source, a tab and the target; further columns are ignored. `.gz` is allowed.
        target: File of the translations, aligned with `source` by line.

    Returns:
        List of `(source, target)` pairs, one per line.

    Raises:
        ValueError: If the files differ in their number of lines, a line of a single file has no
            tab, or a file cannot be read (see `read_lines`).
    """
    if target is None:
        return [_split_at_tab(source, *line) for line in enumerate(read_lines(source), start=1)]
    pairs = list(itertools.zip_longest(read_lines(source), read_lines(target)))
    counts = [sum(pair[side] is not None for pair in pairs) for side in (0, 1)]
    if counts[0] != counts[1]:
        raise ValueError(
            "`source` and `target` must have the same number of lines. Received: "
            f"{counts[0]} lines in {os.fspath(source)!r}, {counts[1]} lines in "
            f"{os.fspath(target)!r}"
        )
    return pairs


def _split_at_tab(path: PathLike, number: int, line: str) -> Pair:
    columns = line.split("\t")
    if len(columns) < 2:
        raise ValueError(
            f"Each line of {os.fspath(path)!r} must be source, tab, target. "
            f"Received: line {number}: {line[:80]!r}"
        )
    return columns[0], columns[1]
