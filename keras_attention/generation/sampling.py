"""Sampling with temperature, top-k and top-p."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_attention.generation.greedy_search import GreedySearch, most_probable
from keras_attention.generation.logits_processors import (
    LogitsProcessor,
    Temperature,
    TopK,
    TopP,
    process_logits,
)
from keras_attention.ops.noise import as_int32, gumbel
from keras_attention.utils.validation import check_positive

MIN_TEMPERATURE = 1e-6  # lower ones are 0
MAX_TEMPERATURE = 1e6  # where all tokens are equally probable


@keras.saving.register_keras_serializable(package="keras_attention")
class Sampling(GreedySearch):
    """Draws every token from the model's distribution, after temperature, top-k and top-p.

    The noise is a function of the seed alone (`keras_attention.ops.noise`), so the same seed gives
    the same output on every backend and in every export. The score is the sum of the model's own
    log-probabilities, before temperature, top-k and top-p.

    Args:
        temperature: divides the logits; below 1 sharpens the distribution, and 0 takes the most
            probable token, as `GreedySearch` does.
        top_k: draws from the k most probable tokens only.
        top_p: draws from the fewest tokens whose probabilities sum to p at least (nucleus
            sampling).
        seed: seed of the first row; the row at index i uses `seed + i`.
        num_return_sequences: number of sequences drawn for each source.
        max_new_tokens: maximum number of generated tokens, END included.
        length_ratio: limits the output further, to this many tokens per source token.
        suppress_tokens: ids that are never generated, in addition to PAD and START.
        force_end: whether an output that reaches its limit ends with END, whose log-probability is
            then 0; otherwise it is cut.

    Raises:
        ValueError: If `temperature` is negative or not finite, `top_k` or `num_return_sequences` is
            not positive, or `top_p` is not in (0, 1].

    References:
        Holtzman et al. 2020, [The Curious Case of Neural Text
        Degeneration](https://arxiv.org/abs/1904.09751), section 3.1.

    Example:

    >>> Sampling(temperature=0.8, top_p=0.9, num_return_sequences=2).num_beams
    2
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
        if not 0 <= temperature <= MAX_TEMPERATURE:
            raise ValueError(
                f"`temperature` must be between 0 and {MAX_TEMPERATURE:g}. "
                f"Received: temperature={temperature}"
            )
        check_positive("num_return_sequences", num_return_sequences)
        if top_k is not None:
            check_positive("top_k", top_k)
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"`top_p` must be in (0, 1]. Received: top_p={top_p}")
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.seed = seed
        self.num_beams = num_return_sequences

    def options(self, batch=1):
        """Returns the per-row options of `Strategy`, and `temperature` and `seed`."""
        return {
            **super().options(batch),
            "temperature": np.full(batch, self.temperature, "float32"),
            "seed": np.full(batch, as_int32(self.seed), "int32") + np.arange(batch, dtype="int32"),
        }

    @property
    def option_ranges(self):
        ranges = {"temperature": (0.0, MAX_TEMPERATURE), "seed": (-(2**31), 2**31 - 1)}
        return {**super().option_ranges, **ranges}

    def with_default_options(self, max_new_tokens):
        return super().with_default_options(max_new_tokens).replace(temperature=1.0, seed=0)

    def resolve_options(self, source_mask, options):
        if "seed" not in options:
            row = ops.arange(ops.shape(source_mask)[0], dtype="int32")
            options = {**options, "seed": as_int32(self.seed) + row}
        resolved = super().resolve_options(source_mask, options)
        temperature = resolved["temperature"]
        # False for NaN, too
        is_positive = temperature >= MIN_TEMPERATURE
        return {**resolved, "temperature": ops.where(is_positive, temperature, 0.0)}

    @property
    def sampling_processors(self) -> list[LogitsProcessor]:
        """Processors of the distribution that tokens are drawn from."""
        processors: list[LogitsProcessor] = [Temperature()]
        if self.top_k is not None:
            processors.append(TopK(self.top_k))
        if self.top_p is not None and self.top_p < 1:
            processors.append(TopP(self.top_p))
        return processors

    def select_token(self, position, log_probs, options):
        logits = process_logits(log_probs, self.sampling_processors, position, options)
        # The argmax of logits plus Gumbel noise is a draw from their softmax.
        noise = gumbel(options["seed"][:, 0], position, ops.shape(logits))
        is_sampled = ops.expand_dims(options["temperature"] > 0, -1)  # (B, 1, 1)
        return most_probable(logits + ops.where(is_sampled, noise, 0.0))

    def get_config(self) -> dict:
        return {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "seed": self.seed,
            "num_return_sequences": self.num_beams,
            **super().get_config(),
        }
