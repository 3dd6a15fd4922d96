"""Text from files in a form that a terminal does not interpret."""

import sys


def printable(text: object) -> str:
    r"""Returns text in one line, with control characters and lone surrogates as escapes.

    Example:

    >>> printable("a\nb \x1b[31m")
    'a b \\x1b[31m'
    """
    line = str(text).replace("\r\n", " ").replace("\n", " ")
    return "".join(char if char == " " or char.isprintable() else repr(char)[1:-1] for char in line)


def print_output(text: str, prefix: str = "") -> None:
    """Prints a line of generated text: unchanged to a file or pipe, `printable` to a terminal."""
    print(prefix + (printable(text) if sys.stdout.isatty() else text))
