"""The parser of all commands."""

import argparse
from collections.abc import Sequence

from _keras_attention_cli import demo, export, infer, serve, train


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses a command line; the texts of `generate` may follow its options.

    Args:
        arguments: Arguments without the program's name. `None` is `sys.argv`.

    Returns:
        The options; `command` is the name of the command.

    Raises:
        SystemExit: After `--help`, or with status 2 if the command line is invalid.
    """
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse considers `MODEL TEXTS...` complete at the first option after MODEL
    if rest and not ("texts" in options and all(_is_text(word) for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.texts += rest
    return options


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="keras-attention",
        description="Attention models for Keras: training, inference, and export to "
        "TensorFlow Serving and TFLite.",
        epilog="Begin with 'keras-attention demo'. For the options of a command, run "
        "'keras-attention COMMAND --help'.",
    )
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    for module in (demo, train, infer, export, serve):
        module.add_commands(commands)
    return parser


def _is_text(word: str) -> bool:
    return not word.startswith("-") or " " in word
