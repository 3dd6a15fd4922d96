"""Reading of files that may be damaged or hostile: sizes first, and errors that name the file."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from keras_attention.utils.limits import limits


def read_bytes(path: str | os.PathLike, limit: str) -> bytes:
    """Reads a file whose size is limited.

    Args:
        path: Path of the file; a named pipe is allowed.
        limit: Name of the field of `limits` that is the maximum size.

    Raises:
        ValueError: If the file cannot be read or is larger.
    """
    most = getattr(limits, limit)
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ValueError(
            f"The file must be readable. Received: {str(path)!r} ({error.strerror})"
        ) from None
    if len(content) > most:
        raise ValueError(
            f"The file must have at most {most} bytes, the `{limit}` of "
            f"`keras_attention.utils.limits`. Received: {str(path)!r}"
        )
    return content


def parse_json(content: bytes, path: str | os.PathLike) -> dict[str, Any]:
    """Parses a JSON dictionary.

    Args:
        content: The file's content.
        path: Path of the file, for errors.

    Raises:
        ValueError: If it is not JSON, or something else than a dictionary.
    """
    try:
        parsed = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected a JSON file written by this library. Received: {str(path)!r} ({error})"
        ) from None
    if not isinstance(parsed, dict):
        raise ValueError(
            "Expected a JSON file that contains a dictionary. "
            f"Received: {str(path)!r}, which contains a {type(parsed).__name__}"
        )
    return parsed


@contextlib.contextmanager
def errors_name_file(path: str | os.PathLike, expected: str) -> Iterator[None]:
    """Converts every error of the block to a `ValueError` of one line that names the file.

    Parsers of damaged files raise errors of many kinds, from `KeyError` to those of TensorFlow.

    Args:
        path: Path of the file or folder that the block reads.
        expected: A sentence about its contents, without a full stop.

    Raises:
        ValueError: If the block raises an error. One that names the file already is unchanged.
    """
    try:
        yield
    except ImportError:  # a missing package is no fault of the file
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # Keras writes some words in bold
        reason = " ".join(text.split())[:300]
        raise ValueError(
            f"{expected}. Received: {str(path)!r} ({type(error).__name__}: {reason})"
        ) from error
