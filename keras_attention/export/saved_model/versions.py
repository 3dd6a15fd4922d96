"""Numbered version folders in TF Serving's base path, each created atomically."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from keras_attention.export.verification.compare import ExportError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY_PREFIX = ".writing-"  # not a number, so TF Serving ignores the folder
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def list_versions(folder: Path) -> list[int]:
    """Returns the version numbers in TF Serving's base path, in ascending order."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


@contextlib.contextmanager
def new_version(folder: Path, min_bytes: int) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """Yields an empty folder for the next version, and a function that publishes it.

    The folder is `version` in a temporary folder. Publishing renames it to the next free number,
    moves the files next to it into the base path, and returns the path of the version. Existing
    `.config` files in the base path are not overwritten, since operators edit them.

    The temporary folder is removed when the block ends. If the process is killed, the next export
    removes it.

    Args:
        folder: the base path. It is created if needed.
        min_bytes: minimum size of the version, for the error message when the disk is full.

    Raises:
        ValueError: if `folder` is a file or contains a saved task.
        ExportError: if the disk is full.
    """
    if (folder / "task.json").exists():  # the task's next `save` would remove the versions
        raise ValueError(
            "`folder` must be TF Serving's base path, new or with earlier versions. "
            f"Received: folder={str(folder)!r}, which contains a saved task"
        )
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ValueError(
            f"`folder` must be a folder. Received: folder={str(folder)!r}, which is a file"
        ) from None
    with contextlib.ExitStack() as stack:
        with _lock(folder):  # another export must not see the new folder before it is locked
            _remove_abandoned(folder)
            temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder))
            stack.enter_context(_lock(temporary))
        (temporary / "version").mkdir()
        try:
            yield temporary / "version", lambda: _publish(temporary, folder)
        except (OSError, tf.errors.OpError) as error:
            if not _is_disk_full(error):
                raise
            raise ExportError(
                f"The disk of {str(folder)!r} must have at least {min_bytes / 1e6:.1f} MB free. "
                f"Received: {shutil.disk_usage(folder).free / 1e6:.1f} MB free when writing failed "
                f"({error})"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if is_new and not any(folder.iterdir()):
                folder.rmdir()


def _publish(temporary: Path, folder: Path) -> Path:
    """Moves the version and the files next to it into the base path, by renames only.

    A rename needs no disk space and happens completely or not at all.
    """
    version = _rename_to_next_number(temporary / "version", folder)
    for path in temporary.iterdir():
        destination = folder / path.name
        if path.suffix != ".config" or not destination.exists():
            os.replace(path, destination)
    return version


def _rename_to_next_number(new: Path, folder: Path) -> Path:
    while True:
        version = folder / str(max([0, *list_versions(folder)]) + 1)
        try:
            os.rename(new, version)
            return version
        except OSError:
            if not version.exists():  # otherwise another export took this number: try the next
                raise


def _remove_abandoned(folder: Path) -> None:
    """Removes the temporary folders of killed processes, whose locks ended with them."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError), _lock(path, wait=False) as is_locked:
            if is_locked:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Locks a folder and yields True; False if it cannot.

    Windows and some network file systems have no such locks. Another process may hold the lock if
    `wait` is False.
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


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in DISK_FULL_ERRORS
    messages = (os.strerror(number) for number in DISK_FULL_ERRORS)
    return any(message in str(error) for message in messages)
