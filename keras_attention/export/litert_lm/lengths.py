"""Static lengths of a LiteRT-LM file: those of the chunks of a prompt, and that of the caches."""

from collections.abc import Sequence
from typing import NamedTuple

PREFILL_LENGTHS = (8, 32, 128, 512)
MULTIPLE = 8  # of the number of slots, and of the longest chunk by default
# LiteRT-LM takes greater primes for placeholders of lengths that it chooses itself.
GREATEST_PRIME = 7


class Lengths(NamedTuple):
    """Static lengths.

    Attributes:
        prefill: numbers of tokens that a prompt may be read by at once, in ascending order.
        max_tokens: maximum number of tokens of a text, with `[START]`; the last one is not read.
    """

    prefill: tuple[int, ...]
    max_tokens: int

    @property
    def slots(self) -> int:
        """Number of slots of a cache."""
        return round_up(self.max_tokens)


def round_up(length: int) -> int:
    """Returns the multiple of `MULTIPLE` that is at least `length`."""
    return -(-length // MULTIPLE) * MULTIPLE


def choose_lengths(
    max_prompt_length: int,
    max_new_tokens: int,
    prefill_lengths: Sequence[int] | None = None,
    cache_length: int | None = None,
) -> Lengths:
    """Returns the lengths of a file, checked.

    Args:
        max_prompt_length: maximum number of tokens of a prompt, without `[START]`.
        max_new_tokens: maximum number of generated tokens.
        prefill_lengths: numbers of tokens that are read at once. By default the longest prompt is
            read at once, and short ones with less padding.
        cache_length: maximum number of tokens of a text; by default as many as a prompt and a
            continuation of these lengths need.

    Raises:
        ValueError: If a length is not positive, given twice or a prime above 10, or the longest
            prompt and continuation do not fit.

    Example:

    >>> choose_lengths(max_prompt_length=127, max_new_tokens=64)
    Lengths(prefill=(8, 32, 128), max_tokens=192)
    """
    longest = 1 + max_prompt_length  # with START
    if prefill_lengths is None:
        prefill_lengths = [n for n in PREFILL_LENGTHS if 2 * n <= longest] + [round_up(longest)]
    needed = longest + max_new_tokens
    cache_length = needed if cache_length is None else cache_length
    lengths = Lengths(tuple(sorted(prefill_lengths)), cache_length)
    is_valid = all(length >= 1 and not _is_placeholder(length) for length in lengths.prefill)
    if not is_valid or not 0 < len(set(lengths.prefill)) == len(lengths.prefill):
        raise ValueError(
            "`prefill_lengths` must be different positive numbers, and no primes above 10, for "
            "which LiteRT-LM puts numbers of its own. "
            f"Received: prefill_lengths={prefill_lengths}"
        )
    if cache_length < needed:
        raise ValueError(
            f"`cache_length` must be at least {needed}, for prompts of {max_prompt_length} tokens "
            f"and {max_new_tokens} more. Received: cache_length={cache_length}"
        )
    size = sum(split_prompt(longest, lengths.prefill))
    if size > lengths.slots:
        raise ValueError(
            f"`prefill_lengths` must split prompts of {longest} tokens, START included, into at "
            f"most {lengths.slots}, `cache_length` rounded up, padding included. "
            f"Received: prefill_lengths={prefill_lengths}, which need {size}"
        )
    return lengths


def _is_placeholder(length):
    return length > GREATEST_PRIME and all(length % n for n in range(2, int(length**0.5) + 1))


def split_prompt(num_tokens: int, prefill_lengths: Sequence[int]) -> list[int]:
    """Returns the lengths by which a prompt is read one after the other, as LiteRT-LM does.

    Args:
        num_tokens: length of the prompt.
        prefill_lengths: available lengths, in ascending order.

    Example:

    >>> split_prompt(75, (8, 32))
    [32, 32, 32]
    >>> split_prompt(70, (8, 32))
    [32, 32, 8]
    """
    longest = prefill_lengths[-1]
    chunks = [longest] * (num_tokens // longest)
    if rest := num_tokens % longest:
        chunks.append(next(length for length in prefill_lengths if length >= rest))
    return chunks
