"""Files and folders that are replaced atomically: a reader sees the old or the new version."""

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
    """Yields an empty temporary folder and renames it to `folder` on success.

    If the block raises, `folder` is unchanged. On Linux the exchange is atomic: `folder` exists at
    every moment. On other systems a process killed between two renames leaves the old version
    in the same parent folder, under a name that begins with a dot.

    Args:
        folder: Path to create or replace.

    Yields:
        The temporary folder to fill, in the same parent folder.
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
            _replace_by_two_renames(new, folder)
    finally:
        # After an exchange, `new` is the path of the old version.
        shutil.rmtree(new, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swaps the names of two folders atomically; returns False where the system cannot."""
    AT_FDCWD, RENAME_EXCHANGE = -100, 2  # arguments of renameat2(2)
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    status = rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE)
    return status == 0


def _replace_by_two_renames(new: Path, folder: Path) -> None:
    """Moves the old folder away, then the new one into its place."""
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.rename(folder, old / folder.name)
    try:
        os.rename(new, folder)
    except BaseException:
        os.rename(old / folder.name, folder)
        old.rmdir()
        raise
    shutil.rmtree(old)


def check_replaceable(folder: str | Path, marker: str) -> None:
    """Checks that replacing a folder loses nothing that this library did not write.

    Args:
        folder: Folder that is about to be replaced.
        marker: Name of a file that identifies a folder written by this library.

    Raises:
        ValueError: If the folder is neither missing, empty, nor contains `marker`.
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / marker).is_file():
        raise ValueError(
            f"The folder must be new, empty, or contain {marker}, so that nothing else is "
            f"overwritten. Received: folder={str(folder)!r}"
        )


def write_json(path: Path, content: dict) -> None:
    """Writes a dictionary as indented JSON in UTF-8."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Reads a dictionary from a JSON file.

    Raises:
        ValueError: If the file is missing, is not JSON, or its content is not a dictionary.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Expected a JSON file written by this library. Received: {str(path)!r} ({error})"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(
            "Expected a JSON file that contains a dictionary. "
            f"Received: {str(path)!r}, which contains a {type(content).__name__}"
        )
    return content


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
