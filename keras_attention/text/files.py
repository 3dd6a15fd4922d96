"""Readers of text files, plain or gzip, with errors that name the file and the line."""

import codecs
import gzip
import os
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

PathLike = str | os.PathLike
Pair = tuple[str, str]


def read_lines(path: PathLike) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 text file, without their line breaks.

    Lines end at `\n` or `\r\n` only, so that line numbers agree with those of other tools. A byte
    order mark at the start of the file is dropped.

    Args:
        path: Path of the file. If it ends in `.gz`, the file is read with gzip.

    Yields:
        One string per line.

    Raises:
        ValueError: If the file does not exist, or contains bytes that are not UTF-8; the message
            names the file and the line.
    """
    if not Path(path).is_file():
        raise ValueError(f"`path` must be an existing text file. Received: path={str(path)!r}")
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rb") as file:
        yield from decode_lines(file, str(path))


def decode_lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    """Yields decoded lines of a binary stream, such as `sys.stdin.buffer`, as `read_lines` does.

    Args:
        file: Iterable of lines of bytes.
        name: Name of the stream in error messages.

    Yields:
        One string per line.

    Raises:
        ValueError: If a line is not UTF-8.
    """
    for number, line in enumerate(file, start=1):
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


def lines_of(source: PathLike | Iterable[str | os.PathLike]) -> Iterator[str]:
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
    """Returns True if the first or the last string is the path of an existing file."""
    return any(os.path.isfile(name) for name in {*names[:1], *names[-1:]})


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
    pairs = list(zip_longest(read_lines(source), read_lines(target)))
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
