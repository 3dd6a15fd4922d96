"""Manifests: JSON files with the SHA-256 of every file in their folder and of themselves.

They detect damage, such as a flipped bit, a cut file or one of another version. They don't detect
tampering: whoever changes a file on purpose can write its manifest anew.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from keras_attention.utils.reading import read_bytes

DIGESTS = "sha256"  # key of the digests of the other files
OWN_DIGEST = "sha256_of_the_lines_above"


def write_manifest(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a dictionary as JSON, with the SHA-256 of all other files in its folder.

    The last line of the file has the SHA-256 of the bytes before that line.

    Args:
        path: the file. All other files must have been written.
        content: a dictionary that JSON can represent.

    Returns:
        `content`, with the digests by relative path as `sha256`.
    """
    content = {**content, DIGESTS: file_digests(path.parent, exclude=path)}
    head = json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8")
    head = head.removesuffix(b"\n}")
    path.write_bytes(head + _last_line(head))
    return content


def read_manifest(path: str | Path, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns the dictionary that `write_manifest` wrote, if no file has changed since.

    The manifest's own SHA-256 is checked before it is parsed, then those of the files in it. Files
    that it does not name are ignored.

    Args:
        path: the manifest.
        names: files to check; `None` checks all that the manifest names.

    Raises:
        ValueError: If the manifest or a file to check is missing or has changed.
    """
    path = Path(path)
    data = read_bytes(path, "json_bytes")
    head = data[: -len(_last_line(b""))]
    if data != head + _last_line(head):
        raise ValueError(
            "A file must end with the SHA-256 of its contents as they were written; it was changed "
            f"since, or written by an earlier version. Received: {str(path)!r}"
        )
    try:
        content = json.loads(data)
        digests = content[DIGESTS]
        del content[OWN_DIGEST]
        if names is not None:
            digests = {name: digests[name] for name in names}
        check_digests(path.parent, digests)
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(
            f"A manifest must be a dictionary with {DIGESTS!r}, the digests of files. "
            f"Received: {str(path)!r} ({type(error).__name__}: {error})"
        ) from None
    return content


def file_digests(folder: Path, exclude: Path | None = None) -> dict[str, str]:
    """Returns the SHA-256 of each file in a folder, by its path relative to the folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != exclude)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digests(folder: Path, digests: Mapping[str, str]) -> None:
    """Checks files against digests from `file_digests`.

    Raises:
        ValueError: If a file is missing, has changed, or is not in the folder.
    """
    for name, expected in digests.items():
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or "\0" in name:
            raise ValueError(
                f"A manifest must name files in its folder {str(folder)!r}. Received: {name!r}"
            )
        path = folder / relative
        if not path.is_file():
            raise ValueError(
                f"A file of {str(folder)!r} must exist. Received: {name!r}, which is missing"
            )
        received = file_digest(path)
        if received != expected:
            raise ValueError(
                f"{os.fspath(path)!r} must be the file that was written, with SHA-256 {expected}. "
                f"Received: SHA-256 {received}"
            )


def _last_line(head: bytes) -> bytes:
    digest = hashlib.sha256(head).hexdigest()
    return f',\n  "{OWN_DIGEST}": "{digest}"\n}}\n'.encode("ascii")
