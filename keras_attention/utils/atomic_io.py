"""Files and folders that are replaced atomically: a reader sees the old or the new version."""

import contextlib
import ctypes
import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_attention.utils.reading import parse_json, read_bytes

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def replace_folder(folder: str | Path) -> Iterator[Path]:
    """Yields an empty temporary folder and renames it to `folder` on success.

    If the block raises, `folder` is unchanged. The new version is written to the disk before it
    gets its name, so that a power failure leaves the old or the new version, too. On Linux the
    exchange is atomic: `folder` exists at every moment. On other systems, and on file systems
    without this operation such as NFS, a process killed between two renames leaves the old version
    in the same parent folder, under a name that begins with a dot; the next call, or
    `remove_abandoned`, renames it back.

    Args:
        folder: Path to create or replace.

    Yields:
        The temporary folder to fill, in the same parent folder.
    """
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    with temporary_folder(folder, "new") as new:
        yield new
        new.chmod(0o777 & ~_umask())
        sync_to_disk(new)
        if not folder.exists():
            os.rename(new, folder)
        elif folder.is_symlink() or not _exchange(new, folder):
            _replace_by_two_renames(new, folder)
        sync_to_disk(folder.parent, recursive=False)
        # After an exchange, `new` is the path of the old version, which is removed.


@contextlib.contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yields the path of a temporary file to write, which gets the name `path` on success.

    If the block raises or the process is killed, `path` is unchanged.

    Args:
        path: Path to create or replace. Of a symbolic link, its target is replaced.

    Yields:
        The path of the temporary file, in a temporary folder next to `path`.

    Raises:
        ValueError: If `path` exists and is not a file.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise ValueError(f"`path` must be a file or not exist. Received: path={str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    with temporary_folder(path, "new") as folder:
        partial = folder / "partial"  # not the file's name, which `remove_abandoned` would restore
        yield partial
        sync_to_disk(folder)
        os.replace(partial, path)
        sync_to_disk(path.parent, recursive=False)


def remove_abandoned(folder: str | Path) -> None:
    """Removes the temporary folders that killed processes left when they wrote `folder`.

    A process locks its temporary folder (`flock`), and its lock ends with it. Where a file system
    has no such locks, nothing is removed. An old version that was moved away is renamed back if
    there is no new one.

    Args:
        folder: Argument of `replace_folder`.
    """
    folder = Path(folder).absolute()
    for path in _temporary_folders(folder):
        with contextlib.suppress(FileNotFoundError), lock_folder(path, wait=False) as is_locked:
            old = path / folder.name
            if is_locked and os.path.lexists(old) and not os.path.lexists(folder):
                os.rename(old, folder)
            if is_locked:
                shutil.rmtree(path, ignore_errors=True)


def _temporary_folders(folder: Path) -> list[Path]:
    prefixes = _temporary_prefix(folder, "new"), _temporary_prefix(folder, "old")
    if not folder.parent.is_dir():
        return []
    return [path for path in folder.parent.iterdir() if path.name.startswith(prefixes)]


def _temporary_prefix(folder: Path, kind: str) -> str:
    return f".{folder.name}.{kind}-"


@contextlib.contextmanager
def temporary_folder(folder: Path, kind: str) -> Iterator[Path]:
    """Yields a new folder next to `folder`, and removes it.

    If the process is killed before, `remove_abandoned` removes it.

    Args:
        folder: Path that the name begins with, after a dot.
        kind: `"new"`, or `"old"` for a folder that receives an old version.
    """
    prefix = _temporary_prefix(folder, kind)
    with contextlib.ExitStack() as locks:
        path = None
        while path is None or not path.exists():  # `remove_abandoned` may come before the lock
            path = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
            with contextlib.suppress(FileNotFoundError):
                locks.enter_context(lock_folder(path))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def lock_folder(folder: str | Path, wait: bool = True) -> Iterator[bool]:
    """Locks a folder and yields True; False if it cannot.

    Windows and some network file systems have no such locks. Another process may hold the lock if
    `wait` is False.

    Args:
        folder: Existing folder.
        wait: Whether to wait until another process has released the lock.

    Yields:
        True if the folder is locked. The lock ends with the block, or with the process.
    """
    if fcntl is None:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            is_locked = True
        except OSError:
            is_locked = False
        yield is_locked
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[bool]:
    """Creates and locks a file; yields False if another process holds the lock, otherwise True.

    Where a file system has no locks, it is always True.

    Args:
        path: The file, in an existing folder.
    """
    with open(path, "a") as file:
        is_locked = True
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                is_locked = False
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                    raise
        yield is_locked


def sync_to_disk(folder: Path, recursive: bool = True) -> None:
    """Flushes a folder's names, and its files and folders if `recursive`, to the disk."""
    paths = list(folder.rglob("*")) if recursive else []
    for path in [*paths, folder]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # this file system cannot flush a folder
                raise
        finally:
            os.close(descriptor)


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
    with temporary_folder(folder, "old") as temporary:
        old = temporary / folder.name
        try:
            os.rename(folder, old)
            os.rename(new, folder)
        finally:
            if os.path.lexists(old) and not os.path.lexists(folder):
                os.rename(old, folder)


def check_replaceable(folder: str | Path, *markers: str) -> None:
    """Checks that replacing a folder loses nothing that this library did not write.

    Args:
        folder: Folder that is about to be replaced.
        *markers: Names of files that together identify a folder written by this library.

    Raises:
        ValueError: If the folder is neither missing, empty, nor contains `markers`.
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not all((folder / marker).is_file() for marker in markers):
        raise ValueError(
            f"The folder must be new, empty, or contain {' and '.join(markers)}, so that nothing "
            f"else is overwritten. Received: folder={str(folder)!r}"
        )


def write_json(path: Path, content: dict) -> None:
    """Writes a dictionary as indented JSON in UTF-8."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Reads a dictionary from a JSON file.

    Raises:
        ValueError: If the file is missing or too large, is not JSON, or its content is not a
            dictionary.
    """
    return parse_json(read_bytes(path, "json_bytes"), path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
