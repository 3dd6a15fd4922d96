"""Options that several commands share, and the numbers that they take."""

import argparse


def whole(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on. Received: {text!r}")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    return _between(text, 0.0, float("inf"), "a number above 0", lowest=False)


def penalty(text: str) -> float:
    """A number of at least 0."""
    return _between(text, 0.0, float("inf"), "a number from 0 on")


def share(text: str) -> float:
    """A number of at least 0 and below 1."""
    return _between(text, 0.0, 1.0, "a number from 0 to below 1")


def add_strategy(command: argparse.ArgumentParser) -> None:
    """Adds the options of the strategy that writes answers."""
    command.add_argument("--beam", type=whole, metavar="WIDTH", help="beam search of this width")
    command.add_argument(
        "--length-penalty", type=penalty, metavar="A", help="alpha of Wu et al. 2016 [0.6]"
    )
    command.add_argument(
        "--max-length", type=whole, metavar="N", help="most tokens in an answer [as trained]"
    )


def strategy_of(options: argparse.Namespace, saved):
    """Beam search as the options say, else the strategy that was saved.

    Raises:
        ValueError: if there is a length penalty without a beam.
    """
    from keras_attention.generation import Beam, Greedy

    limits = {
        "max_length": options.max_length or saved.max_length,
        "length_ratio": saved.length_ratio,
    }
    if options.length_penalty is not None and not options.beam:
        raise ValueError(
            "--length-penalty: expected with --beam. "
            f"Received: --length-penalty {options.length_penalty}"
        )
    if options.beam:
        penalty = 0.6 if options.length_penalty is None else options.length_penalty
        return Beam(options.beam, length_penalty=penalty, **limits)
    return Greedy(**limits) if options.max_length else saved


def _between(text, low, high, expected, lowest=True):
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not (low <= number < high) or (number == low and not lowest):
        raise argparse.ArgumentTypeError(f"expected {expected}. Received: {text!r}")
    return number
