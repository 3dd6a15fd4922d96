"""The loop that every strategy shares. It drives a decoder's `step` and knows no model."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops, tree

from keras_attention.ops.ids import END, PAD, START
from keras_attention.ops.loop import while_loop

MIN_LOG_PROB = -1e9  # a log-probability that no hypothesis has; finite, so that sums stay numbers


class GenerationOutput(NamedTuple):
    """What a strategy found, best first.

    Attributes:
        ids: `(batch, n, max_new_tokens)` int32; ends with END unless cut, then padding.
        scores: `(batch, n)` float32; -1e9 where there is no such hypothesis.
        attention: `(batch, n, max_new_tokens, source)` float32, or None when it was not asked for.
    """

    ids: Any
    scores: Any
    attention: Any = None


class Strategy:
    """Base of Greedy, Beam and Sample: limits, the loop, and what is written in it.

    A strategy says how many `num_beams` it follows, what a hypothesis holds at first (`begin`), how
    it goes on (`advance`), which still run (`running`), and what comes out (`finish`). What may be
    another for each row of a batch are its `options`.

    Args:
        max_new_tokens: most tokens in an answer, END among them.
        length_ratio: limits the answer further, to this many tokens for each token of the source.
        suppress_tokens: ids that are never written, beside PAD and START.
        force_end: whether an answer that comes to its limit ends with END, which then costs
            nothing; else it is cut.

    Raises:
        ValueError: if a limit is not positive, or END is forbidden.
    """

    num_beams = 1

    def __init__(
        self,
        max_new_tokens: int = 64,
        length_ratio: float | None = None,
        suppress_tokens: Sequence[int] = (),
        force_end: bool = False,
    ):
        for name, limit in (("max_new_tokens", max_new_tokens), ("length_ratio", length_ratio)):
            if limit is not None and limit <= 0:
                raise ValueError(f"{name}: expected more than 0. Received: {name}={limit}")
        if END in suppress_tokens:
            raise ValueError(
                f"suppress_tokens: expected ids without END, {END}. "
                f"Received: suppress_tokens={suppress_tokens}"
            )
        self.max_new_tokens = max_new_tokens
        self.length_ratio = length_ratio
        self.suppress_tokens = tuple(suppress_tokens)
        self.force_end = force_end

    def __call__(
        self,
        step: Callable,
        state: Any,
        source_mask: Any,
        attention: bool = False,
        options: dict[str, Any] | None = None,
    ) -> GenerationOutput:
        """Generates.

        Args:
            step: `step(ids, position, state) -> (logits, state, scores)`, a decoder's step with
                its context bound; ids are `(batch, beams)`.
            state: of the decoder, before the first step.
            source_mask: `(batch, source)` bool.
            attention: whether to return where each token looked.
            options: those of `self.options` that are others in this batch, each `(batch,)` or
                `(1,)`.
        """
        carry = self.first(state, source_mask, attention)
        *_, found = self.go_on(step, carry, source_mask, self.max_new_tokens, options)
        return self.finish(found)

    def options(self, batch: int = 1) -> dict[str, np.ndarray]:
        """What each row of a batch may have another of, and what it has else, `(batch,)`.

        `max_new_tokens` limits the answer further.
        """
        return {"max_new_tokens": np.full(batch, self.max_new_tokens, "int32")}

    def first(self, state: Any, source_mask: Any, attention: bool = False) -> tuple:
        """What the loop carries, before the first step: `(t, last ids, state, found)`."""
        kept = ops.cast(source_mask, "float32")  # (B, S)
        batch, source = ops.shape(kept)
        last = ops.full((batch, self.num_beams), START, "int32")
        found = self.begin(batch, source if attention else None, kept)
        return ops.convert_to_tensor(0, "int32"), last, state, found

    def go_on(
        self,
        step: Callable,
        carry: tuple,
        source_mask: Any,
        until: Any,
        options: dict[str, Any] | None = None,
    ) -> tuple:
        """Steps until `until` of them were taken in all, or nothing runs. Gives the carry."""
        kept = ops.cast(source_mask, "float32")  # (B, S)
        given = self.given(kept, options or {})

        def going_on(t, last, state, found):
            return ops.logical_and(t < until, ops.any(self.running(found)))

        def body(t, last, state, found):
            logits, state, scores = step(last, t, state)
            parents, last, found = self.advance(t, logits, scores, found, given, kept)
            if parents is not None:
                state = tree.map_structure(lambda x: gather_beams(x, parents), state)
            return t + 1, last, state, found

        return while_loop(going_on, body, carry)

    def given(self, kept, options: dict) -> dict:
        """All options, for each row, `(batch, 1)`; kept is the source's mask as numbers."""
        given, rows = {}, (ops.shape(kept)[0], 1)
        for name, default in self.options().items():
            option = ops.cast(options.get(name, default), default.dtype)
            given[name] = ops.broadcast_to(ops.reshape(option, (-1, 1)), rows)  # (B, 1)
        limit = ops.clip(given["max_new_tokens"], 1, self.max_new_tokens)
        if self.length_ratio is not None:
            tokens = ops.sum(kept, -1, keepdims=True)
            by_source = ops.cast(ops.ceil(self.length_ratio * tokens), "int32")
            limit = ops.minimum(limit, ops.maximum(by_source, 1))
        return {**given, "max_new_tokens": limit}

    def log_probabilities(self, t, logits, given):
        """Of the token after `t` others, `(batch, beams, vocabulary)`."""
        log_probs = log_probabilities(logits, self.suppress_tokens)
        if not self.force_end:
            return log_probs
        only_end = np.where(np.arange(logits.shape[-1]) == END, 0.0, MIN_LOG_PROB)
        last = ops.expand_dims(t + 1 >= given["max_new_tokens"], -1)  # (B, 1, 1)
        return ops.where(last, ops.convert_to_tensor(only_end, "float32"), log_probs)

    def begin(self, batch, source, kept) -> dict:
        """A dictionary of tensors `(batch, beams, ...)`: what is known of each hypothesis."""
        raise NotImplementedError("abstract")

    def advance(self, t, logits, scores, found, given, kept):
        """One token more.

        Args:
            t: how many were written before.
            logits: `(batch, beams, vocabulary)`.
            scores: where this token looked, `(batch, beams, source)`.
            found: as `begin` made it.
            given: the options of each row.
            kept: the source's mask as numbers.

        Returns:
            `(parents, last ids, found)`; parents are `(batch, beams)`, or None for each its own.
        """
        raise NotImplementedError("abstract")

    def running(self, found):
        """`(batch, beams)` bool: which hypotheses may still grow."""
        raise NotImplementedError("abstract")

    def finish(self, found) -> GenerationOutput:
        """What the caller gets."""
        return GenerationOutput(found["ids"], found["score"], found.get("attention"))

    def get_config(self) -> dict:
        return {
            "max_new_tokens": self.max_new_tokens,
            "length_ratio": self.length_ratio,
            "suppress_tokens": list(self.suppress_tokens),
            "force_end": self.force_end,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Strategy":
        return cls(**config)

    def replace(self, **options: Any) -> "Strategy":
        """A strategy like this one but for these options.

        Example:

        >>> from keras_attention.generation import BeamSearch
        >>> BeamSearch(num_beams=4, length_penalty=1.0).replace(num_beams=6).num_beams
        6
        """
        return type(self)(**{**self.get_config(), **options})

    def __repr__(self):
        options = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({options})"


class OneByOne(Strategy):
    """What Greedy and Sample share: every row picks its own next token, no row ends another."""

    def begin(self, batch, source, kept):
        rows = (batch, self.num_beams)
        found = {
            "ids": ops.full((*rows, self.max_new_tokens), PAD, "int32"),
            "score": ops.zeros(rows, "float32"),
            "open": ops.ones(rows, "bool"),
        }
        if source is not None:
            found["attention"] = ops.zeros((*rows, self.max_new_tokens, source), "float32")
        return found

    def advance(self, t, logits, scores, found, given, kept):
        log_probs = self.log_probabilities(t, logits, given)
        token = self.pick(t, log_probs, given)  # (B, K)
        chosen = ops.one_hot(token, log_probs.shape[-1], dtype="float32")
        gained = ops.sum(chosen * log_probs, axis=-1)
        token = ops.where(found["open"], token, PAD)
        after = {
            "ids": write(found["ids"], t, token),
            "score": found["score"] + ops.where(found["open"], gained, 0.0),
            "open": found["open"] & (token != END) & (t + 1 < given["max_new_tokens"]),
        }
        if "attention" in found:
            looked = ops.where(ops.expand_dims(found["open"], -1), scores, 0.0)
            after["attention"] = write(found["attention"], t, looked)
        return None, token, after

    def pick(self, t, log_probs, given):
        """The next token of each row: `(batch, beams, vocabulary)` -> `(batch, beams)` int32."""
        raise NotImplementedError("abstract")

    def running(self, found):
        return found["open"]


def log_probabilities(logits, suppress_tokens: Sequence[int] = ()):
    """Log-softmax in float32; PAD, START and the forbidden ids are never generated."""
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    never = np.isin(np.arange(logits.shape[-1]), (PAD, START, *suppress_tokens))
    return ops.where(ops.convert_to_tensor(never), MIN_LOG_PROB, log_probs)


def best(values):
    """The index of the greatest value, int32. TFLite's built-ins refuse `ops.argmax`."""
    return ops.cast(ops.squeeze(ops.top_k(values, 1)[1], -1), "int32")


def write(buffer, t, values):
    """Sets slot `t` of the third axis: `(B, K, L, ...)` from `(B, K, ...)`."""
    start = (0, 0, t, *[0] * (len(buffer.shape) - 3))
    return ops.slice_update(buffer, start, ops.cast(ops.expand_dims(values, 2), buffer.dtype))


def gather_beams(x, beams):
    """Reorders the second axis of `(B, K, ...)` by `beams` `(B, N)`, one gather."""
    batch, width = ops.shape(x)[:2]
    offset = ops.expand_dims(ops.arange(batch, dtype="int32") * width, -1)
    flat = ops.reshape(x, (batch * width, *ops.shape(x)[2:]))
    return ops.take(flat, beams + offset, axis=0)  # (B, N, ...)
