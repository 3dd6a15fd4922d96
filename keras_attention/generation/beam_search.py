"""Beam search with length and coverage penalties."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_attention.generation.strategy import (
    MIN_LOG_PROB,
    GenerationOutput,
    Strategy,
    gather_beams,
    write,
)
from keras_attention.ops.ids import END, PAD


@keras.saving.register_keras_serializable(package="keras_attention")
class BeamSearch(Strategy):
    """Follows the `num_beams` likeliest beginnings; keeps the `num_beams` best complete answers.

    A hypothesis Y of source X is complete at END or at its limit. It then leaves the beam and
    stands still among the finished, ranked by Wu et al. 2016, eq. 14
    (https://arxiv.org/abs/1609.08144):

        score(Y, X) = log P(Y|X) / lp(Y) + cp(X, Y)
        lp(Y) = ((5 + |Y|) / 6) ** length_penalty
        cp(X, Y) = coverage_penalty * sum_i log(min(sum_j p_ij, 1))

    A source is done when none of its beams can still come among its `num_return_sequences`: log P
    only falls, so `log P / lp(limit)` bounds all that a beam can reach. With `num_beams=1` the
    answer is Greedy's.

    Args:
        num_beams: beams followed.
        length_penalty: alpha; 0 compares sums, 1 nearly averages.
        coverage_penalty: beta; 0 is off.
        num_return_sequences: answers returned, at most `num_beams`.
        max_new_tokens: most tokens in an answer, END among them.
        length_ratio: limits the answer further, to this many tokens for each token of the source.
        suppress_tokens: ids that are never written, beside PAD and START.
        force_end: whether an answer that comes to its limit ends with END, at no cost.

    Raises:
        ValueError: if a penalty is negative, `num_return_sequences` is not between 1 and
            `num_beams`, or, when it runs, `num_beams` is too large for the vocabulary.

    Example:

    >>> BeamSearch(num_beams=5, length_penalty=1.0, num_return_sequences=2).num_beams
    5
    """

    def __init__(
        self,
        num_beams: int = 4,
        length_penalty: float = 0.6,
        coverage_penalty: float = 0.0,
        num_return_sequences: int = 1,
        max_new_tokens: int = 64,
        length_ratio: float | None = None,
        suppress_tokens: Sequence[int] = (),
        force_end: bool = False,
    ):
        super().__init__(max_new_tokens, length_ratio, suppress_tokens, force_end)
        if not 1 <= num_return_sequences <= num_beams:
            raise ValueError(
                "num_return_sequences: expected between 1 and the beam's width. "
                f"Received: num_return_sequences={num_return_sequences}, num_beams={num_beams}"
            )
        if length_penalty < 0 or coverage_penalty < 0:
            raise ValueError(
                "length_penalty, coverage_penalty: expected 0 or more. Received: "
                f"length_penalty={length_penalty}, coverage_penalty={coverage_penalty}"
            )
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self.coverage_penalty = coverage_penalty
        self.num_return_sequences = num_return_sequences

    def options(self, batch=1):
        """`num_beams`, too: from `num_return_sequences` to the strategy's."""
        return {**super().options(batch), "num_beams": np.full(batch, self.num_beams, "int32")}

    def given(self, kept, options):
        given = super().given(kept, options)
        return {
            **given,
            "num_beams": ops.clip(given["num_beams"], self.num_return_sequences, self.num_beams),
        }

    def begin(self, batch, source, kept):
        rows = (batch, self.num_beams)
        first = ops.arange(self.num_beams) == 0  # all beams begin alike, so one alone may branch
        pool = {
            "ids": ops.full((*rows, self.max_new_tokens), PAD, "int32"),
            "score": ops.full(rows, MIN_LOG_PROB, "float32"),
        }
        if source is not None:
            pool["attention"] = ops.zeros((*rows, self.max_new_tokens, source), "float32")
        log_prob = ops.broadcast_to(ops.where(first, 0.0, MIN_LOG_PROB), rows)
        found = {"alive": {**pool, "score": log_prob}, "finished": pool}
        if self.coverage_penalty:
            found["covered"] = ops.zeros((*rows, ops.shape(kept)[1]), "float32")
        return found

    def advance(self, t, logits, scores, found, given, kept):
        log_probs = self.log_probabilities(t, logits, given)
        parents, token, alive = self._grow(t, log_probs, scores, found["alive"], self.num_beams)
        alive["score"] = first(given["num_beams"], alive["score"])
        after = {}
        coverage = 0.0
        if self.coverage_penalty:
            covered = gather_beams(found["covered"] + ops.cast(scores, "float32"), parents)
            after["covered"] = covered
            coverage = self._coverage(covered, kept)

        limit = given["max_new_tokens"]  # (B, 1)
        possible = alive["score"] > MIN_LOG_PROB / 2
        complete = possible & ((token == END) | (t + 1 >= limit))
        score = alive["score"] / self._length(t + 1) + coverage  # (B, K)
        completed = {**alive, "score": ops.where(complete, score, MIN_LOG_PROB)}
        after["finished"] = self._keep_best(found["finished"], completed)

        to_beat = after["finished"]["score"][
            :, self.num_return_sequences - 1 : self.num_return_sequences
        ]  # (B, 1)
        can_win = alive["score"] / self._length(limit) > to_beat
        going_on = possible & ~complete & can_win
        after["alive"] = {**alive, "score": ops.where(going_on, alive["score"], MIN_LOG_PROB)}
        return parents, token, after

    def _grow(self, t, log_probs, scores, alive, count):
        """The `count` likeliest continuations of all beams together; log_probs are (B, K, V)."""
        width, vocabulary = log_probs.shape[-2:]
        if width > vocabulary - 2:
            raise ValueError(
                "`num_beams` must be at most the vocabulary size minus 2. "
                f"Received: num_beams={width}, vocabulary_size={vocabulary}"
            )
        total = ops.expand_dims(alive["score"], -1) + log_probs
        log_prob, index = ops.top_k(ops.reshape(total, (-1, width * vocabulary)), count)
        index = ops.cast(index, "int32")
        parents = index // vocabulary  # (B, count)
        token = index - parents * vocabulary
        grown = {
            "ids": write(gather_beams(alive["ids"], parents), t, token),
            "score": ops.maximum(log_prob, MIN_LOG_PROB),
        }
        if "attention" in alive:
            attention = write(alive["attention"], t, scores)
            grown["attention"] = gather_beams(attention, parents)
        return parents, token, grown

    def _keep_best(self, finished, completed):
        both = {
            name: ops.concatenate([finished[name], completed[name]], axis=1) for name in finished
        }
        score, order = ops.top_k(both.pop("score"), self.num_beams)
        order = ops.cast(order, "int32")
        return {"score": score, **{name: gather_beams(x, order) for name, x in both.items()}}

    def _length(self, length):
        return ((5.0 + ops.cast(length, "float32")) / 6.0) ** self.length_penalty

    def _coverage(self, covered, kept):
        kept = ops.expand_dims(kept, 1) > 0  # (B, 1, S)
        # A position that nothing looked at counts as e^-20, not as minus infinity.
        logs = ops.log(ops.clip(ops.where(kept, covered, 1.0), 2e-9, 1.0))
        return self.coverage_penalty * ops.sum(logs, axis=-1)  # (B, K)

    def running(self, found):
        return found["alive"]["score"] > MIN_LOG_PROB / 2

    def finish(self, found):
        best = {name: x[:, : self.num_return_sequences] for name, x in found["finished"].items()}
        return GenerationOutput(best["ids"], best["score"], best.get("attention"))

    def get_config(self) -> dict:
        return {
            "num_beams": self.num_beams,
            "length_penalty": self.length_penalty,
            "coverage_penalty": self.coverage_penalty,
            "num_return_sequences": self.num_return_sequences,
            **super().get_config(),
        }


def first(count, scores):
    """Leaves the first `count` `(batch, 1)` of scores `(batch, n)`; the rest become impossible."""
    return ops.where(ops.arange(ops.shape(scores)[1]) < count, scores, MIN_LOG_PROB)
