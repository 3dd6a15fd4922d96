"""Functions of the next token's log-probabilities that run before a token is chosen."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from keras import ops

from keras_attention.ops.ids import END
from keras_attention.types import Tensor

MIN_LOG_PROB = -1e9  # log-probability of an impossible token; finite, so that sums stay finite


class LogitsProcessor(Protocol):
    """Pure function of the logits of one step. Log-probabilities are logits, too."""

    def __call__(self, logits: Tensor, position: Tensor, options: dict[str, Tensor]) -> Tensor:
        """Returns the processed logits.

        Args:
            logits: float32 (batch, beams, vocabulary).
            position: integer scalar, the number of tokens generated before this one.
            options: the strategy's options for each row, each (batch, 1).
        """
        ...


class SuppressTokens:
    """Makes tokens impossible.

    Args:
        ids: the tokens' ids.
    """

    def __init__(self, ids: Sequence[int]):
        self.ids = tuple(ids)

    def __call__(self, logits, position, options):
        is_suppressed = np.isin(np.arange(logits.shape[-1]), self.ids)  # (V,)
        # A minimum runs in XNNPACK, a `where` does not.
        greatest = np.where(is_suppressed, MIN_LOG_PROB, np.finfo("float32").max)
        return ops.minimum(logits, ops.convert_to_tensor(greatest, "float32"))


class ForceEnd:
    """Makes END, with probability 1, the only possible token at the row's `max_new_tokens`."""

    def __call__(self, logits, position, options):
        only_end = np.where(np.arange(logits.shape[-1]) == END, 0.0, MIN_LOG_PROB)  # (V,)
        is_last = ops.expand_dims(position + 1 >= options["max_new_tokens"], -1)  # (B, 1, 1)
        return ops.where(is_last, ops.convert_to_tensor(only_end, "float32"), logits)


class Temperature:
    """Divides the logits by the row's `temperature`: below 1 sharpens the distribution.

    A temperature of 0 leaves the logits as they are; `Sampling` then takes the most probable token.
    Impossible tokens stay impossible at every temperature.
    """

    def __call__(self, logits, position, options):
        temperature = ops.expand_dims(options["temperature"], -1)  # (B, 1, 1)
        temperature = ops.where(temperature > 0, temperature, 1.0)
        # The greatest logit becomes 0, so that a low temperature does not move it out of range.
        scaled = (logits - ops.max(logits, axis=-1, keepdims=True)) / temperature
        is_possible = logits > MIN_LOG_PROB / 2
        return ops.where(is_possible, ops.maximum(scaled, MIN_LOG_PROB / 4), MIN_LOG_PROB)


class TopK:
    """Makes all tokens but the k most probable impossible; of equal ones, the first are kept.

    Args:
        k: number of tokens.
    """

    def __init__(self, k: int):
        self.k = k

    def __call__(self, logits, position, options):
        k = min(self.k, logits.shape[-1])
        threshold = ops.top_k(logits, k)[0][..., -1:]  # (B, K, 1)
        return keep_most_probable(logits, threshold, k)


class TopP:
    """Makes all tokens impossible but the fewest most probable ones that hold p of the probability.

    Of equally probable tokens, the first are kept.

    Args:
        p: probability that the remaining tokens hold together at least, up to a rounding error of
            1e-6.

    References:
        Holtzman et al. 2020, [The Curious Case of Neural Text
        Degeneration](https://arxiv.org/abs/1904.09751), nucleus sampling.
    """

    def __init__(self, p: float):
        self.p = p

    def __call__(self, logits, position, options):
        sorted_logits = ops.top_k(logits, logits.shape[-1])[0]  # (B, K, V)
        probs = ops.softmax(sorted_logits, axis=-1)
        preceding = ops.cumsum(probs, axis=-1) - probs  # held by the more probable tokens
        is_first = np.arange(logits.shape[-1]) == 0  # (V,)
        in_nucleus = (preceding < self.p - 1e-6) | ops.convert_to_tensor(is_first)
        threshold = ops.where(in_nucleus, sorted_logits, -MIN_LOG_PROB)
        threshold = ops.min(threshold, axis=-1, keepdims=True)  # (B, K, 1)
        count = ops.sum(ops.cast(in_nucleus, "int32"), axis=-1, keepdims=True)  # (B, K, 1)
        return keep_most_probable(logits, threshold, count)


def keep_most_probable(logits: Tensor, threshold: Tensor, count: Tensor) -> Tensor:
    """Makes all but the `count` most probable tokens impossible; of equal ones, keeps the first.

    Args:
        logits: float32 (batch, beams, vocabulary).
        threshold: the smallest logit to keep, (batch, beams, 1).
        count: int, or int32 (batch, beams, 1).

    Example:

    >>> logits = ops.convert_to_tensor([[[2.0, 5.0, 2.0]]])
    >>> ops.convert_to_numpy(keep_most_probable(logits, 2.0, 2)).tolist()
    [[[2.0, 5.0, -1000000000.0]]]
    """
    is_greater, is_equal = logits > threshold, ops.equal(logits, threshold)
    room = count - ops.sum(ops.cast(is_greater, "int32"), axis=-1, keepdims=True)  # (B, K, 1)
    rank = ops.cumsum(ops.cast(is_equal, "int32"), axis=-1)  # among the equal ones, from 1
    return ops.where(is_greater | (is_equal & (rank <= room)), logits, MIN_LOG_PROB)


def compute_log_probs(
    logits: Tensor,
    processors: Iterable[LogitsProcessor],
    position: Tensor = 0,
    options: dict[str, Tensor] | None = None,
) -> Tensor:
    """Returns the log-softmax of a decoder's logits, in float32, processed.

    Args:
        logits: float (batch, beams, vocabulary).
        processors: the processors, in order.
        position: integer scalar, the number of tokens generated before this one.
        options: the strategy's options for each row, each (batch, 1).
    """
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    return process_logits(log_probs, processors, position, options)


def process_logits(
    logits: Tensor,
    processors: Iterable[LogitsProcessor],
    position: Tensor = 0,
    options: dict[str, Tensor] | None = None,
) -> Tensor:
    """Applies logits processors one after the other.

    Args:
        logits: float32 (batch, beams, vocabulary).
        processors: the processors, in order.
        position: integer scalar, the number of tokens generated before this one.
        options: the strategy's options for each row, each (batch, 1).

    Returns:
        The processed logits, of the same shape.

    Example:

    >>> logits = ops.convert_to_tensor([[[2.0, 5.0, 3.0]]])
    >>> logits = process_logits(logits, [SuppressTokens([1]), TopK(1)])
    >>> ops.convert_to_numpy(logits).tolist()
    [[[-1000000000.0, -1000000000.0, 3.0]]]
    """
    for processor in processors:
        logits = processor(logits, position, options or {})
    return logits
