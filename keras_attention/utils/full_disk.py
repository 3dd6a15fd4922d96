"""Errors of a full disk that name the folders and the files to be written."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def explain_full_disk(
    what: str, folder: str | Path, error_class: type[Exception] = OSError
) -> Iterator[None]:
    """Raises an error that names `what` and `folder` if the disk is full; others pass unchanged.

    Args:
        what: what the block writes, for the error.
        folder: where it writes; temporary files may be in `tempfile.gettempdir()`.
        error_class: class of the error.
    """
    try:
        yield
    except Exception as error:  # TensorFlow and HDF5 have classes of their own
        if not is_disk_full(error):
            raise
        try:
            temporary = tempfile.gettempdir()
        except FileNotFoundError:  # it writes a file to find out
            temporary = os.environ.get("TMPDIR", os.curdir)
        reason = str(error).strip().splitlines()[0][:300]
        raise error_class(
            f"{what} needs free space in {str(folder)!r} and, for temporary files, in "
            f"{temporary!r}. Received: {_free_megabytes(folder)} and "
            f"{_free_megabytes(temporary)} MB free when writing failed ({reason})"
        ) from error


def is_disk_full(error: Exception) -> bool:
    """Returns whether the disk, a quota or a limit of the file size caused an error."""
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRORS:
        return True
    return any(os.strerror(number) in str(error) for number in DISK_FULL_ERRORS)


def _free_megabytes(folder: str | Path) -> str:
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    return f"{shutil.disk_usage(path).free / 1e6:.1f}"
