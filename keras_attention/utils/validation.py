"""Checks of argument values that several packages share."""

from collections.abc import Sequence
from typing import Any


def check_positive(name: str, value: float) -> None:
    """Raises a `ValueError` unless the value is positive."""
    if not value > 0:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value}")


def check_one_of(name: str, value: Any, choices: Sequence) -> None:
    """Raises a `ValueError` unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {tuple(choices)}. Received: {name}={value!r}")
