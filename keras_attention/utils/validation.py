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


def check_texts(name: str, texts: Any, nested: bool = False) -> None:
    """Raises a `ValueError` unless this is a list of strings.

    One string would be read as a list of letters. The items of lists and tuples are checked, those
    of arrays and tensors are not.

    Args:
        name: name of the argument.
        texts: value of the argument.
        nested: whether an item may be anything, such as a list of strings.
    """
    if isinstance(texts, str | bytes):
        raise ValueError(f"`{name}` must be a list of strings. Received: {name}={texts!r}")
    if isinstance(texts, list | tuple) and not nested:
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(f"`{name}` must be a list of strings. Received: an item {text!r}")


def check_pairs(name: str, pairs: Any) -> None:
    """Raises a `ValueError` unless this is a list of at least one pair of strings.

    A string of two letters would be read as a pair of them.
    """
    if isinstance(pairs, str | bytes) or not len(pairs):
        raise ValueError(f"`{name}` must contain at least one pair. Received: {name}={pairs!r}")
    for pair in pairs:
        is_pair = not isinstance(pair, str) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) for text in pair):
            raise ValueError(f"`{name}` must be pairs of strings. Received: an item {pair!r}")


def check_static(static: Any, max_length: int | None = None) -> tuple[int, ...]:
    """Returns the static sizes of an export's inputs, if they are valid.

    Args:
        static: batch size, followed by the length if the inputs have one.
        max_length: greatest length; `None` for inputs without a length.

    Raises:
        ValueError: If they are anything else.
    """
    count, example = (1, "(1,)") if max_length is None else (2, "(1, 64)")
    is_valid = isinstance(static, Sequence) and len(static) == count
    if not is_valid or not all(isinstance(size, int) and size > 0 for size in static):
        names = ("batch size", "length")[:count]
        raise ValueError(
            f"`static` must be a positive {' and '.join(names)}, such as {example}. "
            f"Received: static={static!r}"
        )
    if max_length is not None and static[1] > max_length:
        raise ValueError(
            "`static` must not have a length above the task's maximum length. "
            f"Received: static={static!r}, maximum length {max_length}"
        )
    return tuple(static)
