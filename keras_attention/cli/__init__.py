"""The command `keras-attention`: one module for each group of commands."""

import argparse
import contextlib
import os
import sys
import warnings

import keras

from keras_attention.cli import demo, export, infer, train


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: without the program's name; None takes `sys.argv`.

    Returns:
        The exit status: 0, 2 for bad input, 130 after Ctrl-C.
    """
    options = parse(arguments)
    try:
        with _one_line_messages():
            options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"keras-attention: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nkeras-attention: stopped{''.join(stop.args)}", file=sys.stderr)
        return 130
    return 0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a command line. Texts may stand behind options.

    Raises:
        SystemExit: after `--help`, or with status 2 where the command line is wrong.
    """
    top = parser()
    options, rest = top.parse_known_args(arguments)
    # argparse takes `MODEL TEXTS...` for complete at the first option after MODEL
    if rest and not ("texts" in options and all(_is_text(word) for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.texts += rest
    return options


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="keras-attention",
        description="Attention for Keras: from two text files to TF Serving and a phone.",
        epilog="Begin with 'keras-attention demo'. 'keras-attention COMMAND --help' explains one.",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (demo, train, infer, export):
        module.add(commands)
    return top


def _is_text(word):
    return not word.startswith("-") or " " in word


@contextlib.contextmanager
def _one_line_messages():
    """Warnings without the line of code; errors without what Keras adds for its tracebacks."""
    filtering = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            yield
    finally:
        if filtering:
            keras.config.enable_traceback_filtering()


def _warn(message, category, filename, lineno, file=None, line=None):
    print(f"keras-attention: warning: {message}", file=sys.stderr)
