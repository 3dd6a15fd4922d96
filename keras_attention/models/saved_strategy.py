"""Checks of generation strategies that a file describes, before memory is allocated for them."""

import math
from typing import Any

from keras_attention.generation import Strategy
from keras_attention.utils.limits import limits

INTEGERS = ("max_new_tokens", "num_beams", "num_return_sequences", "top_k", "seed")


def check_saved_strategy(strategy: Any, decoder: Any) -> None:
    """Checks that a strategy fits a decoder and the limits.

    Args:
        strategy: Strategy that was read from a file.
        decoder: Decoder of the model.

    Raises:
        ValueError: If an option has the wrong type, or generation would exceed `max_length` or
            `cache_bytes` of `keras_attention.utils.limits`.
    """
    if not isinstance(strategy, Strategy):
        raise ValueError(f"The strategy must be a `Strategy`. Received: {type(strategy).__name__}")
    for name, value in strategy.get_config().items():
        _check_option(name, value, decoder.vocabulary_size)
    if strategy.max_new_tokens > limits.max_length:
        raise ValueError(
            f"`max_new_tokens` must be at most {limits.max_length}, the `max_length` of "
            f"`keras_attention.utils.limits`. Received: max_new_tokens={strategy.max_new_tokens}"
        )
    size = estimate_cache_bytes(strategy, decoder)
    if size > limits.cache_bytes:
        raise ValueError(
            f"Generation must need at most {limits.cache_bytes} bytes for an input, the "
            f"`cache_bytes` of `keras_attention.utils.limits`. Received: {size} bytes for "
            f"{strategy!r}"
        )


def estimate_cache_bytes(strategy: Strategy, decoder: Any) -> int:
    """Returns the memory for one input at `max_new_tokens`: keys, values, hypotheses and logits.

    Args:
        strategy: The strategy.
        decoder: A decoder; only those with a `stack` of blocks have a key/value cache.
    """
    stack = getattr(decoder, "stack", None)
    cache = 0
    for block in stack.blocks if stack is not None else []:
        attention = block.self_attention
        position = sum(4 * math.prod(x.shape) for x in attention.init_cache(1, 1, 1).recent)
        cache += position * attention.num_slots(strategy.max_new_tokens)
    hypotheses, logits = 8 * strategy.max_new_tokens, 8 * decoder.vocabulary_size
    return strategy.num_beams * (cache + hypotheses + logits)


def _check_option(name: str, value: Any, vocabulary_size: int) -> None:
    if name == "suppress_tokens":
        valid = all(type(id) is int and 0 <= id < vocabulary_size for id in value)
    elif name in INTEGERS:
        valid = value is None or (type(value) is int and abs(value) < 2**31)
    else:  # the constructors compare strings with those they know
        is_number = isinstance(value, int | float)
        valid = value is None or isinstance(value, str) or (is_number and math.isfinite(value))
    if not valid:
        raise ValueError(f"`{name}` has a value that is not possible. Received: {value!r}"[:300])
