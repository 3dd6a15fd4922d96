"""Numbered version folders in TF Serving's base path, each created atomically."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_attention.export.verification.compare import ExportError
from keras_attention.utils.atomic_io import lock_folder
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import file_digest

BASE_DIGESTS = "base_path_sha256"  # key in `verification.json`
EXTRA = "assets.extra"  # files of no concern to TF Serving, except for the warm-up requests
TEMPORARY_PREFIX = ".writing-"  # not a number, so TF Serving ignores the folder


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
        ValueError: If `folder` is a file or contains a saved task.
        ExportError: If the disk is full.
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
        with lock_folder(folder):  # another export must not see the new folder before it is locked
            _remove_abandoned(folder)
            temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder))
            stack.enter_context(lock_folder(temporary))
        (temporary / "version").mkdir()
        what = f"A SavedModel of at least {min_bytes / 1e6:.1f} MB"
        try:
            with explain_full_disk(what, folder, ExportError):
                yield temporary / "version", lambda: _publish(temporary, folder)
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
        if not _keeps(folder / path.name):
            os.replace(path, folder / path.name)
    return version


def base_digests(temporary: Path, folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of the files that are in the base path once a version is published.

    Args:
        temporary: folder of the version and of the files next to it.
        folder: the base path.
    """
    files = (path for path in sorted(temporary.iterdir()) if path.is_file())
    existing = ((folder / path.name, path) for path in files)
    return {path.name: file_digest(old if _keeps(old) else path) for old, path in existing}


def _keeps(path: Path) -> bool:
    """Returns whether a file of the base path is not overwritten: operators edit it."""
    return path.suffix == ".config" and path.exists()


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
        with contextlib.suppress(FileNotFoundError), lock_folder(path, wait=False) as is_locked:
            if is_locked:
                shutil.rmtree(path, ignore_errors=True)
