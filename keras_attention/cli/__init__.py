"""Commands of `keras-attention`; their parsers are in the package `_keras_attention_cli`."""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from _keras_attention_cli.parser import parse
from keras_attention.cli import demo, export, infer, serve, train
from keras_attention.cli.printable import printable

COMMANDS = {
    "demo": demo.run,
    "train": train.run,
    "generate": infer.run_generate,
    "evaluate": infer.run_evaluate,
    "attention": infer.run_attention,
    "export": export.run_export,
    "verify": export.run_verify,
    "serve": serve.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses and runs a command line.

    Args:
        arguments: Arguments without the program's name. `None` is `sys.argv`.

    Returns:
        The exit status, see `run`.
    """
    return run(parse(arguments))


def run(options: argparse.Namespace) -> int:
    """Runs a command.

    Args:
        options: Result of `parse`.

    Returns:
        The exit status: 0, 2 for invalid input, 130 after Ctrl-C.
    """
    try:
        with _one_line_messages():
            COMMANDS[options.command](options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ImportError) as error:
        print(f"keras-attention: {printable(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        message = printable("".join(interrupt.args))
        print(f"\nkeras-attention: interrupted{message}", file=sys.stderr)
        return 130
    return 0


@contextlib.contextmanager
def _one_line_messages() -> Iterator[None]:
    """Prints warnings without source lines, and errors without what Keras adds for tracebacks."""
    is_filtering = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            yield
    finally:
        if is_filtering:
            keras.config.enable_traceback_filtering()


def _print_warning(message: Any, *args: Any, **kwargs: Any) -> None:
    print(f"keras-attention: warning: {printable(message)}", file=sys.stderr)
