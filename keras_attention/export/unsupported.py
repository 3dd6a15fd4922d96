"""Errors of formats that cannot represent everything that a task has."""

from collections.abc import Iterable
from typing import Any


def check_no_options(options: Iterable[str], supported: str) -> None:
    """Raises a `ValueError` that names the options that a format cannot represent, if any.

    Args:
        options: descriptions of the options.
        supported: sentence that says what the format is for.
    """
    options = list(options)
    if options:
        raise ValueError(f"{supported}. Received: {'; '.join(options)}")


def check_no_details(details: bool, runner: Any) -> None:
    """Raises a `ValueError` if a runner without attention weights is asked for them."""
    if details:
        raise ValueError(
            "Attention weights need the Keras model or an export of another format. "
            f"Received: runner={runner!r}"
        )
