"""Reading of zip archives without trust in the sizes that they claim."""

import io
import math
import os
import zipfile

import numpy as np

from keras_attention.utils.limits import MIB
from keras_attention.utils.reading import errors_name_file

MAX_DIRECTORY_BYTES = 4 * MIB  # of the list of members, about 50,000


def check_directory(path: str | os.PathLike) -> None:
    """Raises a `ValueError` if the list of members of a zip file is unreasonably large."""
    with open(path, "rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # it has no public name
    if end is not None and end[zipfile._ECD_SIZE] > MAX_DIRECTORY_BYTES:  # type: ignore[attr-defined]
        raise ValueError(
            f"An archive must have a directory of at most {MAX_DIRECTORY_BYTES} bytes. "
            f"Received: {str(path)!r}"
        )


def read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Reads a member of an archive.

    Args:
        archive: The archive.
        name: Name of the member.
        limit: Maximum size of the member.

    Raises:
        ValueError: If the member is missing, compressed, or larger than `limit`.
    """
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"the archive has no member {name!r}"[:200]) from None
    check_member(info, limit)
    return archive.read(info)


def read_arrays(path: str | os.PathLike) -> list[np.ndarray]:
    """Reads the arrays that `np.savez(path, *arrays)` wrote, without pickles.

    Raises:
        ValueError: If the file is damaged or compressed, or an array is not as large as it claims.
    """
    with errors_name_file(path, "The file must be an undamaged .npz file"):
        check_directory(path)
        with zipfile.ZipFile(path) as archive:
            names = [f"arr_{index}.npy" for index in range(len(archive.namelist()))]
            return [_read_array(archive, name) for name in names]


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    file = io.BytesIO(read_member(archive, name, os.path.getsize(str(archive.filename))))
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"the array {name} has the unknown version {version}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    size = math.prod(shape) * dtype.itemsize
    content = file.read()
    if dtype.hasobject or size != len(content):
        raise ValueError(f"the array {name} of {size} bytes has {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def check_member(info: zipfile.ZipInfo, limit: int) -> None:
    """Raises a `ValueError` if a member is compressed, encrypted, or larger than `limit`."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise ValueError(f"the member {info.filename!r} of the archive is compressed"[:200])
    if info.flag_bits & 1:
        raise ValueError(f"the member {info.filename!r} of the archive is encrypted"[:200])
    if info.file_size > limit:
        raise ValueError(
            f"the member {info.filename!r} of the archive has more than {limit} bytes"[:300]
        )
