"""Lines of text files, plain or gzip, with errors that name the file and the line."""

import codecs
import gzip
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

PathLike = str | os.PathLike


def read_lines(path: PathLike) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 text file, without their line breaks.

    Lines end at `\n` or `\r\n` and nowhere else, so that line numbers agree with those of
    other tools. A byte order mark at the start of the file is dropped.

    Args:
        path: The file. A name that ends in `.gz` is read with gzip.

    Yields:
        One string per line.

    Raises:
        ValueError: if the file does not exist, or holds bytes that are not UTF-8; the message
            names the file and the line.
    """
    if not Path(path).is_file():
        raise ValueError(f"Expected the path of a text file. Received: {str(path)!r}")
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rb") as file:
        yield from decode_lines(file, str(path))


def decode_lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    """As `read_lines`, from lines of bytes, such as `sys.stdin.buffer`.

    Args:
        file: The bytes, one item a line.
        name: What errors call the file.
    """
    for number, line in enumerate(file, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Expected UTF-8 text in {name!r}, line {number}, byte {error.start + 1}."
                f" Received: {line[:80]!r}"
            ) from None


def lines_of(source: PathLike | Iterable[str | os.PathLike]) -> Iterator[str]:
    """Yields lines from a file, from several files, or from lines themselves.

    A single string or path is a file. A list or tuple is one of files if a `Path` is in it, or if
    its first or last string names an existing file. Any other iterable gives lines.

    Args:
        source: A path, a list of paths, or an iterable of strings.

    Yields:
        One string per line.

    Raises:
        ValueError: if a file is missing, or as `read_lines` does.
    """
    if isinstance(source, str | os.PathLike):
        source = [Path(source)]
    if not isinstance(source, list | tuple):
        yield from source
    elif any(isinstance(item, os.PathLike) for item in source) or _names_a_file(source):
        for path in source:
            yield from read_lines(path)
    else:
        yield from source


def _names_a_file(names: list[str] | tuple[str, ...]) -> bool:
    """Whether the first or the last string is an existing file: a line of text is not."""
    return any(os.path.isfile(name) for name in {*names[:1], *names[-1:]})
