"""TF Serving's base path: versions are numbers, and appear whole."""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from keras_attention.export.verification.compare import ExportError

WRITING = ".writing-"  # no number: TF Serving does not look at it
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def versions(folder: Path) -> list[int]:
    """The numbers of the versions in TF Serving's base path."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


@contextlib.contextmanager
def new_version(folder: Path, needed: int) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """Gives a folder to fill, `version`, and a function that gives it the next free number.

    What is written beside `version` goes to the base path with it. When the block ends, by itself
    or in an error, whatever has no number by then is removed; what a killed process left is removed
    by the next export.

    Args:
        folder: the base path, which is made.
        needed: bytes that the version has at least, for the message when there is no room.

    Raises:
        ValueError: if the folder is a file or a saved task's.
        ExportError: if there is no room.
    """
    if (folder / "task.json").exists():  # the next `save` would replace the versions with it
        raise ValueError(
            "folder: expected TF Serving's base path, new or with earlier versions. "
            f"Received: {str(folder)!r}, where a task is saved"
        )
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ValueError(f"folder: expected a folder. Received: {str(folder)!r}, a file") from None
    with contextlib.ExitStack() as held:
        with _lock(folder):  # no other export may look between `mkdtemp` and the new one's lock
            _remove_left(folder)
            new = Path(tempfile.mkdtemp(prefix=WRITING, dir=folder))
            held.enter_context(_lock(new))
        (new / "version").mkdir()
        try:
            yield new / "version", lambda: _finish(new, folder)
        except (OSError, tf.errors.OpError) as error:
            if not _is_full(error):
                raise
            raise ExportError(
                f"Expected room for at least {needed / 1e6:.1f} MB in {str(folder)!r}. Received: "
                f"{shutil.disk_usage(folder).free / 1e6:.1f} MB free when it was full ({error})"
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
            if made and not any(folder.iterdir()):
                folder.rmdir()


def _finish(new, folder) -> Path:
    """Renames alone, which need no room and are whole or not at all."""
    version = _number(new / "version", folder)
    for path in new.iterdir():
        there = folder / path.name
        if path.suffix != ".config" or not there.exists():  # a configuration may have been changed
            os.replace(path, there)
    return version


def _number(new, folder) -> Path:
    while True:
        version = folder / str(max([0, *versions(folder)]) + 1)
        try:
            os.rename(new, version)
            return version
        except OSError:
            if not version.exists():  # else another export took the number: the next one
                raise


def _remove_left(folder) -> None:
    """Removes what processes left that were killed: a lock ends with its process."""
    for left in folder.glob(f"{WRITING}*"):
        with contextlib.suppress(FileNotFoundError), _lock(left, wait=False) as held:
            if held:
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder, wait=True) -> Iterator[bool]:
    """Locks a folder, and says whether it did: some network file systems know no locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except OSError:
            held = False
        yield held
    finally:
        os.close(descriptor)


def _is_full(error) -> bool:
    if isinstance(error, OSError):
        return error.errno in FULL
    reasons = (os.strerror(number) for number in FULL)
    return any(reason in str(error) for reason in reasons)
