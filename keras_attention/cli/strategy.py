"""The generation strategy that the options of a command describe."""

import argparse

from keras_attention.generation import BeamSearch, Strategy

OPTIONS = ("num_beams", "length_penalty", "max_new_tokens")


def strategy_from_options(options: argparse.Namespace, saved: Strategy) -> Strategy:
    """Returns the saved strategy with the changes of the command line.

    Args:
        options: Options with `num_beams`, `length_penalty` and `max_new_tokens`, `None` where
            not given. `num_beams` makes it a beam search.
        saved: Strategy of the trained task.

    Raises:
        ValueError: If there is a length penalty without a number of beams.
    """
    if options.max_new_tokens:
        saved = saved.replace(max_new_tokens=options.max_new_tokens)
    if options.length_penalty is not None and not options.num_beams:
        raise ValueError(
            "`--length-penalty` requires `--num-beams`. "
            f"Received: --length-penalty {options.length_penalty}"
        )
    if not options.num_beams:
        return saved
    beam = saved if isinstance(saved, BeamSearch) else BeamSearch(**Strategy.get_config(saved))
    penalty = beam.length_penalty if options.length_penalty is None else options.length_penalty
    return beam.replace(num_beams=options.num_beams, length_penalty=penalty)
