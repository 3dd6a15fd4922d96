"""Folders and files that are replaced whole: a reader sees the old one or the new one."""

import contextlib
import ctypes
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replace_folder(folder: str | Path) -> Iterator[Path]:
    """Gives an empty folder to fill; it takes the name `folder` when the block ends well.

    When that fails, or the block does, `folder` is as it was. On Linux there is no moment without
    it; elsewhere a process that is killed between two renames leaves the old one beside it, under
    a name that begins with a dot.

    Args:
        folder: the name; what stands there is replaced.

    Yields:
        The folder to fill, beside the other.
    """
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield new
        new.chmod(0o777 & ~_umask())
        if not folder.exists():
            os.rename(new, folder)
        elif folder.is_symlink() or not _exchange(new, folder):
            _rename_twice(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)  # where they were exchanged, what was `folder`


def _exchange(a, b):
    """Gives two folders each other's name at one stroke, where the system can."""
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of renameat2(2)
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return rename is not None and not rename(here, os.fsencode(a), here, os.fsencode(b), exchange)


def _rename_twice(new, folder):
    """Puts the old one aside, then the new one in its place."""
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.rename(folder, old / folder.name)
    try:
        os.rename(new, folder)
    except BaseException:
        os.rename(old / folder.name, folder)
        old.rmdir()
        raise
    shutil.rmtree(old)


def check_replaceable(folder: str | Path, mark: str) -> None:
    """Holds for a new or empty folder, and for one that holds the file `mark`.

    Args:
        folder: what is to be replaced.
        mark: name of a file that tells that the folder was written by this library.

    Raises:
        ValueError: if it holds something else, which would be lost.
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / mark).is_file():
        raise ValueError(
            f"Expected a new or empty folder, or one with {mark}. "
            f"Received: {str(folder)!r}, which holds something else"
        )


def write_json(path: Path, content: dict) -> None:
    """Writes indented JSON in UTF-8."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Reads a dictionary from JSON.

    Raises:
        ValueError: if the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        return content
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Expected a JSON file of this library at {str(path)!r} ({error}). Received: nothing "
            "that could be read"
        ) from None


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
