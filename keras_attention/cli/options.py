"""Options that several commands share, and the numbers that they take."""

import argparse


def whole(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on. Received: {text!r}")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    return _between(text, 0.0, float("inf"), "a number above 0", mask_value=False)


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
        "--length-penalty",
        type=penalty,
        metavar="A",
        help="of the beam [as saved, else alpha of Wu et al. 2016, 0.6]",
    )
    command.add_argument(
        "--max-length", type=whole, metavar="N", help="most tokens in an answer [as trained]"
    )


def strategy_of(options: argparse.Namespace, saved):
    """The strategy that was saved, changed as the options say; --beam makes it beam search.

    Raises:
        ValueError: if there is a length penalty without a beam.
    """
    from keras_attention.generation import BeamSearch
    from keras_attention.generation.strategy import Strategy

    if options.max_length:
        saved = saved.replace(max_new_tokens=options.max_length)
    if options.length_penalty is not None and not options.beam:
        raise ValueError(
            "--length-penalty: expected with --beam. "
            f"Received: --length-penalty {options.length_penalty}"
        )
    if not options.beam:
        return saved
    beam = saved if isinstance(saved, BeamSearch) else BeamSearch(**Strategy.get_config(saved))
    penalty = beam.length_penalty if options.length_penalty is None else options.length_penalty
    return beam.replace(num_beams=options.beam, length_penalty=penalty)


def _between(text, low, high, expected, mask_value=True):
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not (low <= number < high) or (number == low and not mask_value):
        raise argparse.ArgumentTypeError(f"expected {expected}. Received: {text!r}")
    return number
