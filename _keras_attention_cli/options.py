"""Types of option values, and options that several commands share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRAINED_MODEL = "folder of a trained task or of a Marian model, such as OPUS-MT's"
MODEL = "folder of a trained task, of an export, or of a Marian model, such as OPUS-MT's"

# argparse has no public name for this type, or for the groups of a parser.
Commands = Any
Group = Any


def positive_int(text: str) -> int:
    """Returns an integer of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Received: {text!r}")
    return int(text)


def sizes(text: str) -> tuple[int, ...]:
    """Returns integers of at least 1, separated by commas."""
    return tuple(map(positive_int, text.split(",")))


def positive_float(text: str) -> float:
    """Returns a number above 0."""
    return _number(text, lambda number: 0 < number < float("inf"), "greater than 0")


def non_negative_float(text: str) -> float:
    """Returns a number of at least 0."""
    return _number(text, lambda number: 0 <= number < float("inf"), "at least 0")


def fraction(text: str) -> float:
    """Returns a number of at least 0 and below 1."""
    return _number(text, lambda number: 0 <= number < 1, "at least 0 and less than 1")


def add_model(command: argparse.ArgumentParser, help: str) -> None:
    """Adds the model, a folder or a name on the hub."""
    command.add_argument("model", type=Path, help=help)
    command.add_argument(
        "--revision",
        metavar="COMMIT",
        help="commit, tag or branch of MODEL, the name of a Marian model on the Hugging Face hub "
        "[MODEL is a folder]",
    )


def add_strategy_options(command: argparse.ArgumentParser) -> None:
    """Adds the options of the generation strategy; `None` leaves the saved strategy as it is."""
    command.add_argument(
        "--num-beams", type=positive_int, metavar="N", help="beam search with N beams"
    )
    command.add_argument(
        "--length-penalty",
        type=non_negative_float,
        metavar="ALPHA",
        help="length penalty of beam search [as saved, else 0.6, alpha of Wu et al. 2016]",
    )
    command.add_argument(
        "--max-new-tokens",
        type=positive_int,
        metavar="N",
        help="maximum number of generated tokens [as saved]",
    )


def _number(text: str, is_valid: Callable[[float], bool], expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not is_valid(number):
        raise argparse.ArgumentTypeError(f"must be a number {expected}. Received: {text!r}")
    return number
