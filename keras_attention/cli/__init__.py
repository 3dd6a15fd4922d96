"""The command `keras-attention`: one module for each group of commands."""

import argparse
import os
import sys

from keras_attention.cli import demo, export, train, use


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: without the program's name; None takes `sys.argv`.

    Returns:
        The exit status: 0, 2 for bad input, 130 after Ctrl-C.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes on the machine
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"keras-attention: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nkeras-attention: stopped", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="keras-attention",
        description="Attention for Keras: from two text files to TF Serving and a phone.",
        epilog="Begin with 'keras-attention demo'. 'keras-attention COMMAND --help' explains one.",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (demo, train, use, export):
        module.add(commands)
    return top
