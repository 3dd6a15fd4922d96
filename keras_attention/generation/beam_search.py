"""Beam search with length and coverage penalties."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_attention.generation.hypotheses import gather_beams, write_position
from keras_attention.generation.logits_processors import MIN_LOG_PROB
from keras_attention.generation.strategy import GenerationOutput, Strategy
from keras_attention.ops.ids import END, PAD
from keras_attention.types import Tensor

LENGTH_PENALTIES = ("gnmt", "power")
EARLY_STOPPING = (True, False, "never")


@keras.saving.register_keras_serializable(package="keras_attention")
class BeamSearch(Strategy):
    """Extends the `num_beams` most probable hypotheses of each source at every step.

    A hypothesis Y of source X is finished when it ends with END or reaches its limit. It is then
    no longer extended, and is ranked by its score, equation 14 of Wu et al. 2016:

        score(Y, X) = log P(Y|X) / lp(Y) + cp(X, Y)
        cp(X, Y) = coverage_penalty * sum_i log(min(sum_j p_ij, 1))

    where p_ij is the attention weight of target token j on source position i.

    | `length_penalty_type` | lp(Y) | |
    | --- | --- | --- |
    | `"gnmt"` | `((5 + abs(Y)) / 6) ** length_penalty` | Wu et al. 2016 |
    | `"power"` | `abs(Y) ** length_penalty` | transformers, fairseq |

    | `refill_beams` | candidates of a step | of these, can finish | enough finished hypotheses |
    | --- | --- | --- | --- |
    | `False` | the best `num_beams` | all | `num_return_sequences` |
    | `True` | the best `2 * num_beams` | the first `num_beams` | `num_beams` |

    The best `num_beams` unfinished candidates are extended further, so without `refill_beams` a
    finished hypothesis leaves its beam empty for a step, and with it another one takes its place.
    The search of a source stops when enough hypotheses are finished and its most probable
    unfinished hypothesis cannot improve on the last of them:

    | `early_stopping` | score that the unfinished hypothesis is assumed to reach |
    | --- | --- |
    | `"never"` | `log P / lp(limit)`, the most that it can reach: no better hypothesis is lost |
    | `False` | `log P / lp(current length)`, a heuristic that can lose a better hypothesis |
    | `True` | none: the search stops at once |

    The defaults are the search of Wu et al. The search of transformers, with which its models were
    evaluated, is `BeamSearch(length_penalty=1.0, length_penalty_type="power",
    early_stopping=False, refill_beams=True)`.

    Args:
        num_beams: number of hypotheses that are extended for each source. With 1, the output is
            that of `GreedySearch`.
        length_penalty: exponent of lp; 0 compares sums of log-probabilities.
        coverage_penalty: weight of cp; 0 turns it off.
        num_return_sequences: number of sequences returned, at most `num_beams`.
        length_penalty_type: `"gnmt"` or `"power"`.
        early_stopping: `"never"`, `False` or `True`.
        refill_beams: whether a finished hypothesis is replaced by an unfinished one.
        max_new_tokens: maximum number of generated tokens, END included.
        length_ratio: limits the output further, to this many tokens per source token.
        suppress_tokens: ids that are never generated, in addition to PAD and START.
        force_end: whether an output that reaches its limit ends with END, whose log-probability is
            then 0; otherwise it is cut.

    Raises:
        ValueError: If a penalty is negative, `num_return_sequences` is not between 1 and
            `num_beams`, or an option is unknown; while generating, if `num_beams` is greater than
            the vocabulary size minus 2.

    References:
        Wu et al. 2016, [Google's Neural Machine Translation
        System](https://arxiv.org/abs/1609.08144), section 7.

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
        length_penalty_type: str = "gnmt",
        early_stopping: bool | str = "never",
        refill_beams: bool = False,
        max_new_tokens: int = 64,
        length_ratio: float | None = None,
        suppress_tokens: Sequence[int] = (),
        force_end: bool = False,
    ):
        super().__init__(max_new_tokens, length_ratio, suppress_tokens, force_end)
        if not 1 <= num_return_sequences <= num_beams:
            raise ValueError(
                "`num_return_sequences` must be between 1 and `num_beams`. Received: "
                f"num_return_sequences={num_return_sequences}, num_beams={num_beams}"
            )
        if length_penalty < 0 or coverage_penalty < 0:
            raise ValueError(
                "`length_penalty` and `coverage_penalty` must not be negative. Received: "
                f"length_penalty={length_penalty}, coverage_penalty={coverage_penalty}"
            )
        if length_penalty_type not in LENGTH_PENALTIES:
            raise ValueError(
                f"`length_penalty_type` must be one of {LENGTH_PENALTIES}. "
                f"Received: length_penalty_type={length_penalty_type!r}"
            )
        if early_stopping not in EARLY_STOPPING:
            raise ValueError(
                f"`early_stopping` must be one of {EARLY_STOPPING}. "
                f"Received: early_stopping={early_stopping!r}"
            )
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self.coverage_penalty = coverage_penalty
        self.num_return_sequences = num_return_sequences
        self.length_penalty_type = length_penalty_type
        self.early_stopping = early_stopping
        self.refill_beams = refill_beams

    @property
    def uses_weights(self) -> bool:
        """True with a coverage penalty, which is computed from the attention weights."""
        return bool(self.coverage_penalty)

    def options(self, batch=1):
        """Returns the per-row options of `Strategy`, and `num_beams`.

        A row's `num_beams` may be lower than the strategy's, down to `num_return_sequences`.
        """
        return {**super().options(batch), "num_beams": np.full(batch, self.num_beams, "int32")}

    @property
    def option_ranges(self):
        num_beams = self.num_return_sequences, self.num_beams
        return {**super().option_ranges, "num_beams": num_beams}

    def initial_hypotheses(self, batch, source_length, return_attention, length):
        shape = (batch, self.num_beams)
        sequences = {"ids": ops.full((*shape, length), PAD, "int32")}
        if return_attention:
            sequences["attention"] = ops.zeros((*shape, length, source_length), "float32")
        # All beams are equal at first, so only one of them is extended.
        is_first = ops.arange(self.num_beams) == 0
        log_prob = ops.broadcast_to(ops.where(is_first, 0.0, MIN_LOG_PROB), shape)
        alive = {**sequences, "log_prob": log_prob}
        if self.coverage_penalty:
            alive["coverage"] = ops.zeros((*shape, source_length), "float32")
        finished = {**sequences, "score": ops.full(shape, MIN_LOG_PROB, "float32")}
        return {"alive": alive, "finished": finished}

    def update(self, position, log_probs, weights, hypotheses, options, source_mask):
        num_beams, limit, length = options["num_beams"], options["max_new_tokens"], position + 1
        parents, ids, candidates = self._expand(
            position, log_probs, weights, hypotheses["alive"], num_beams
        )
        log_prob = candidates["log_prob"]  # (B, C), C candidates
        is_possible = log_prob > MIN_LOG_PROB / 2
        is_complete = is_possible & ((ids == END) | (length >= limit))

        score = log_prob / self.length_normalizer(length)
        if self.coverage_penalty:
            score = score + self._coverage_penalty(candidates["coverage"], source_mask)
        score = keep_first(ops.where(is_complete, score, MIN_LOG_PROB), num_beams)
        finished = self._merge_finished(
            hypotheses["finished"], {**candidates, "score": score}, num_beams
        )

        log_prob = ops.where(is_possible & ~is_complete, log_prob, MIN_LOG_PROB)
        alive = {**candidates, "log_prob": log_prob}
        if self.refill_beams:
            parents, ids, alive = self._select_unfinished(parents, ids, alive, num_beams)
        can_improve = self._can_improve(
            alive["log_prob"], finished["score"], length, limit, num_beams
        )
        alive["log_prob"] = ops.where(can_improve, alive["log_prob"], MIN_LOG_PROB)  # (B, K)
        return parents, ids, {"alive": alive, "finished": finished}

    def _expand(self, position, log_probs, weights, alive, num_beams):
        """Returns the best candidates of all beams together: parents, tokens and hypotheses."""
        beams, vocabulary_size = log_probs.shape[-2:]
        if beams > vocabulary_size - 2:
            raise ValueError(
                "`num_beams` must be between 1 and the vocabulary size minus 2. "
                f"Received: num_beams={beams}, vocabulary_size={vocabulary_size}"
            )
        factor = 2 if self.refill_beams else 1
        total = ops.expand_dims(alive["log_prob"], -1) + log_probs  # (B, K, V)
        total = ops.reshape(total, (-1, beams * vocabulary_size))  # (B, K * V)
        log_prob, index = ops.top_k(total, factor * beams)  # (B, C)
        index = ops.cast(index, "int32")
        parents = index // vocabulary_size
        ids = index - parents * vocabulary_size
        candidates = {
            "ids": write_position(gather_beams(alive["ids"], parents), position, ids),
            "log_prob": keep_first(ops.maximum(log_prob, MIN_LOG_PROB), factor * num_beams),
        }
        if "attention" in alive:
            attention = write_position(alive["attention"], position, weights)
            candidates["attention"] = gather_beams(attention, parents)
        if "coverage" in alive:
            coverage = alive["coverage"] + ops.cast(weights, "float32")  # (B, K, S)
            candidates["coverage"] = gather_beams(coverage, parents)
        return parents, ids, candidates

    def _merge_finished(self, finished, candidates, num_beams):
        """Returns the best `num_beams` of the finished hypotheses and the new ones, sorted."""
        merged = {
            name: ops.concatenate([finished[name], candidates[name]], axis=1) for name in finished
        }
        score, order = ops.top_k(merged.pop("score"), self.num_beams)
        order = ops.cast(order, "int32")
        best = {name: gather_beams(x, order) for name, x in merged.items()}
        return {"score": keep_first(score, num_beams), **best}

    def _select_unfinished(self, parents, ids, candidates, num_beams):
        """Returns the best `num_beams` unfinished candidates: parents, tokens and hypotheses."""
        log_prob, order = ops.top_k(candidates.pop("log_prob"), self.num_beams)  # (B, K)
        order = ops.cast(order, "int32")
        alive = {name: gather_beams(x, order) for name, x in candidates.items()}
        alive["log_prob"] = keep_first(log_prob, num_beams)
        return gather_beams(parents, order), gather_beams(ids, order), alive

    def _can_improve(self, log_prob, finished_score, length, limit, num_beams):
        """Returns bool (batch, 1): whether the search of each source continues."""
        enough = num_beams if self.refill_beams else self.num_return_sequences
        is_last = ops.equal(ops.arange(self.num_beams), enough - 1)
        last = ops.sum(ops.where(is_last, finished_score, 0.0), axis=1, keepdims=True)  # (B, 1)
        too_few = last <= MIN_LOG_PROB / 2
        if self.early_stopping is True:
            return too_few
        assumed_length = limit if self.early_stopping == "never" else length
        best = ops.max(log_prob, axis=1, keepdims=True)  # (B, 1)
        return too_few | (best / self.length_normalizer(assumed_length) > last)

    def length_normalizer(self, length: Tensor) -> Tensor:
        """Returns lp(Y), by which the log-probability of sequences of a length is divided."""
        length = ops.cast(length, "float32")
        if self.length_penalty_type == "gnmt":
            length = (5.0 + length) / 6.0
        return length**self.length_penalty

    def _coverage_penalty(self, coverage, source_mask):
        coverage = ops.where(ops.expand_dims(source_mask, 1), coverage, 1.0)  # (B, C, S)
        # A source position without any attention counts as log(2e-9), not as minus infinity.
        logs = ops.log(ops.clip(coverage, 2e-9, 1.0))
        return self.coverage_penalty * ops.sum(logs, axis=-1)  # (B, C)

    def is_running(self, hypotheses):
        return hypotheses["alive"]["log_prob"] > MIN_LOG_PROB / 2

    def finalize(self, hypotheses):
        best = {
            name: x[:, : self.num_return_sequences] for name, x in hypotheses["finished"].items()
        }
        return GenerationOutput(best["ids"], best["score"], best.get("attention"))

    def get_config(self) -> dict:
        return {
            "num_beams": self.num_beams,
            "length_penalty": self.length_penalty,
            "coverage_penalty": self.coverage_penalty,
            "num_return_sequences": self.num_return_sequences,
            "length_penalty_type": self.length_penalty_type,
            "early_stopping": self.early_stopping,
            "refill_beams": self.refill_beams,
            **super().get_config(),
        }


def keep_first(scores: Tensor, count: Tensor) -> Tensor:
    """Sets all but the first `count` (batch, 1) of scores (batch, n) to `MIN_LOG_PROB`."""
    return ops.where(ops.arange(ops.shape(scores)[1]) < count, scores, MIN_LOG_PROB)
