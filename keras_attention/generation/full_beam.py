"""Beam search whose beam stays full, as transformers has it."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_attention.generation.beam_search import BeamSearch, first
from keras_attention.generation.strategy import MIN_LOG_PROB, gather_beams
from keras_attention.ops.ids import END

STOPS = (False, True, "never")


@keras.saving.register_keras_serializable(package="keras_attention")
class FullBeam(BeamSearch):
    """Always follows `num_beams` beginnings that have not ended, as transformers does.

    Of the `2 * num_beams` likeliest continuations the unfinished ones go on, so that an answer
    that ends makes room for another; only the first `num_beams` may end. The `num_beams` best
    complete answers are kept, ranked by

        score(Y, X) = log P(Y|X) / |Y| ** length_penalty

    A source is done when it has `num_beams` complete answers and, by `early_stopping`:

    | `early_stopping` | the best beginning, of length t, cannot beat the worst answer |
    | --- | --- |
    | `False` | if it ended now: `log P / t ** length_penalty`, a guess that may lose a better one |
    | `"never"` | if it ended at the limit: `log P / limit ** length_penalty` |
    | `True` | is not asked |

    Args:
        num_beams: beginnings followed.
        length_penalty: 0 compares sums, 1 averages.
        early_stopping: see the table.
        num_return_sequences: answers returned, at most `num_beams`.
        max_new_tokens: most tokens in an answer, END among them.
        length_ratio: limits the answer further, to this many tokens for each token of the source.
        suppress_tokens: ids that are never written, beside PAD and START.
        force_end: whether an answer that comes to its limit ends with END, at no cost.

    Raises:
        ValueError: as `BeamSearch` does, or if `early_stopping` is none of the table's.

    Example:

    >>> FullBeam(num_beams=4, num_return_sequences=2).num_beams
    4
    """

    def __init__(
        self,
        num_beams: int = 4,
        length_penalty: float = 1.0,
        early_stopping: bool | str = False,
        num_return_sequences: int = 1,
        max_new_tokens: int = 64,
        length_ratio: float | None = None,
        suppress_tokens: Sequence[int] = (),
        force_end: bool = False,
    ):
        limits = (max_new_tokens, length_ratio, suppress_tokens, force_end)
        super().__init__(num_beams, length_penalty, 0.0, num_return_sequences, *limits)
        if early_stopping not in STOPS:
            raise ValueError(
                f"early_stopping: expected one of {STOPS}. Received: {early_stopping!r}"
            )
        self.early_stopping = early_stopping

    def advance(self, t, logits, scores, found, given, kept):
        log_probs = self.log_probabilities(t, logits, given)
        parents, token, grown = self._grow(t, log_probs, scores, found["alive"], 2 * self.num_beams)
        limit, width = given["max_new_tokens"], given["num_beams"]  # (B, 1)
        grown["score"] = first(2 * width, grown["score"])
        possible = grown["score"] > MIN_LOG_PROB / 2  # (B, 2 K)
        complete = possible & ((token == END) | (t + 1 >= limit))
        score = grown["score"] / self._length(t + 1)
        may_end = first(width, ops.where(complete, score, MIN_LOG_PROB))
        finished = self._keep_best(found["finished"], {**grown, "score": may_end})
        finished["score"] = first(width, finished["score"])

        going_on = ops.where(complete, MIN_LOG_PROB, grown.pop("score"))
        log_prob, order = ops.top_k(going_on, self.num_beams)
        log_prob = first(width, log_prob)
        order = ops.cast(order, "int32")
        alive = {name: gather_beams(x, order) for name, x in grown.items()}
        is_last = ops.equal(ops.arange(self.num_beams), width - 1)
        worst = ops.sum(ops.where(is_last, finished["score"], 0.0), axis=1, keepdims=True)
        still = self._can_win(log_prob[:, :1], worst, t + 1, limit)
        alive["score"] = ops.where(still, log_prob, MIN_LOG_PROB)  # (B, K)
        parents, token = gather_beams(parents, order), gather_beams(token, order)
        return parents, token, {"alive": alive, "finished": finished}

    def _can_win(self, best, worst, length, limit):
        """Whether a source goes on (B, 1): its best beginning against its worst answer."""
        has_room = worst <= MIN_LOG_PROB / 2
        if self.early_stopping is True:
            return has_room
        length = limit if self.early_stopping == "never" else length
        return has_room | (best / self._length(length) > worst)

    def _length(self, length):
        return ops.cast(length, "float32") ** self.length_penalty

    def get_config(self) -> dict:
        config = super().get_config()
        config.pop("coverage_penalty")
        return {**config, "early_stopping": self.early_stopping}
