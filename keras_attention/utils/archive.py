"""Reading of zip archives without trust in the sizes that they claim."""

import os
import zipfile

from keras_attention.utils.limits import MIB

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
