"""Greedy search and sampling."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_attention.generation.strategy import MIN_LOG_PROB, OneByOne, best
from keras_attention.ops.noise import as_int32, gumbel


@keras.saving.register_keras_serializable(package="keras_attention")
class GreedySearch(OneByOne):
    """Takes the likeliest token at every step. The score is the sum of log-probabilities.

    Args:
        max_new_tokens: most tokens in an answer, END among them.
        length_ratio: limits the answer further, to this many tokens for each token of the source.
        suppress_tokens: ids that are never written, beside PAD and START.
        force_end: whether an answer that comes to its limit ends with END, at no cost.

    Example:

    >>> GreedySearch(max_new_tokens=20)
    GreedySearch(max_new_tokens=20, length_ratio=None, suppress_tokens=[], force_end=False)
    """

    def pick(self, t, log_probs, given):
        return best(log_probs)


@keras.saving.register_keras_serializable(package="keras_attention")
class Sampling(OneByOne):
    """Draws every token from the model's distribution, tempered and cut.

    The noise is a function of the seed alone (`keras_attention.ops.noise`), so the same seed gives
    the same answer on every backend and in every export. The score is the sum of the model's own
    log-probabilities, before temperature and cuts.

    Args:
        temperature: divides the logits; below 1 sharpens.
        top_k: draws from the k likeliest tokens alone.
        top_p: draws from the fewest tokens whose probabilities reach p (nucleus sampling, Holtzman
            et al. 2020, https://arxiv.org/abs/1904.09751).
        seed: of the noise.
        num_return_sequences: answers drawn for each source.
        max_new_tokens: most tokens in an answer, END among them.
        length_ratio: limits the answer further, to this many tokens for each token of the source.
        suppress_tokens: ids that are never written, beside PAD and START.
        force_end: whether an answer that comes to its limit ends with END, at no cost.

    Raises:
        ValueError: if temperature, top_k or num_return_sequences is not positive, or top_p is not
            in (0, 1].

    Example:

    >>> Sampling(temperature=0.8, top_p=0.9).num_beams
    1
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        num_return_sequences: int = 1,
        max_new_tokens: int = 64,
        length_ratio: float | None = None,
        suppress_tokens: Sequence[int] = (),
        force_end: bool = False,
    ):
        super().__init__(max_new_tokens, length_ratio, suppress_tokens, force_end)
        for name, value in (
            ("temperature", temperature),
            ("top_k", top_k),
            ("num_return_sequences", num_return_sequences),
        ):
            if value is not None and value <= 0:
                raise ValueError(f"{name}: expected more than 0. Received: {name}={value}")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p: expected more than 0, at most 1. Received: top_p={top_p}")
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.seed = seed
        self.num_beams = num_return_sequences

    def options(self, batch=1):
        """`temperature` and `seed`, too. By itself a row's seed is `seed` plus its place."""
        return {
            **super().options(batch),
            "temperature": np.full(batch, self.temperature, "float32"),
            "seed": np.full(batch, as_int32(self.seed), "int32") + np.arange(batch, dtype="int32"),
        }

    def given(self, kept, options):
        if "seed" not in options:
            places = ops.arange(ops.shape(kept)[0], dtype="int32")
            options = {**options, "seed": as_int32(self.seed) + places}
        return super().given(kept, options)

    def pick(self, t, log_probs, given):
        logits = log_probs / ops.expand_dims(given["temperature"], -1)  # (B, K, V)
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_top_p(logits, self.top_p)
        return best(logits + gumbel(given["seed"][:, 0], t, ops.shape(logits)))

    def get_config(self) -> dict:
        return {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "seed": self.seed,
            "num_return_sequences": self.num_beams,
            **super().get_config(),
        }


def keep_top_k(logits, k: int):
    """Leaves the k greatest logits of the last axis; the rest become impossible."""
    least = ops.top_k(logits, min(k, logits.shape[-1]))[0][..., -1:]
    return ops.where(logits < least, MIN_LOG_PROB, logits)


def keep_top_p(logits, p: float):
    """Leaves the fewest greatest logits whose probabilities sum to p at least."""
    sorted_logits = ops.top_k(logits, logits.shape[-1])[0]
    probs = ops.softmax(sorted_logits, axis=-1)
    before = ops.cumsum(probs, axis=-1) - probs  # what the greater ones already hold
    least = ops.min(ops.where(before < p, sorted_logits, -MIN_LOG_PROB), axis=-1, keepdims=True)
    return ops.where(logits < least, MIN_LOG_PROB, logits)
