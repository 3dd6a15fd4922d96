"""Base class of the strategies. They drive a decoder's `step` and know no model."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_attention.generation.decoding_loop import run
from keras_attention.generation.logits_processors import ForceEnd, LogitsProcessor, SuppressTokens
from keras_attention.ops.ids import END, PAD, START
from keras_attention.types import Mask, Tensor
from keras_attention.utils.validation import check_positive


class GenerationOutput(NamedTuple):
    """Generated sequences of each source, best first.

    Attributes:
        ids: int32 (batch, num_return_sequences, max_new_tokens); a sequence ends with END, unless
            it was cut at its limit, and is padded.
        scores: float32 (batch, num_return_sequences); -1e9 for a sequence that does not exist.
        attention: attention weights, float32 (batch, num_return_sequences, max_new_tokens, source),
            or None if they were not requested.
    """

    ids: Tensor
    scores: Tensor
    attention: Tensor | None = None

    def fields(self) -> dict[str, Tensor]:
        """Returns the fields that are not `None`, by name.

        Example:

        >>> list(GenerationOutput(ids=np.zeros((1, 1, 4)), scores=np.zeros((1, 1))).fields())
        ['ids', 'scores']
        """
        return {name: x for name, x in self._asdict().items() if x is not None}


class Strategy:
    """Base class of the strategies: their limits and what the decoding loop asks of them.

    A subclass sets `num_beams`, the number of hypotheses that it extends for each source, and
    implements `initial_hypotheses`, `update`, `is_running` and, if needed, `finalize`.

    Args:
        max_new_tokens: maximum number of generated tokens, END included.
        length_ratio: limits the output further, to this many tokens per source token.
        suppress_tokens: ids that are never generated, in addition to PAD and START.
        force_end: whether an output that reaches its limit ends with END, whose log-probability is
            then 0; otherwise it is cut.

    Raises:
        ValueError: If a limit is not positive or END is suppressed.
    """

    num_beams = 1

    def __init__(
        self,
        max_new_tokens: int = 64,
        length_ratio: float | None = None,
        suppress_tokens: Sequence[int] = (),
        force_end: bool = False,
    ):
        check_positive("max_new_tokens", max_new_tokens)
        if length_ratio is not None:
            check_positive("length_ratio", length_ratio)
        if END in suppress_tokens:
            raise ValueError(
                f"`suppress_tokens` must not contain END, {END}. "
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
        source_mask: Mask,
        return_attention: bool = False,
        options: dict[str, Any] | None = None,
    ) -> GenerationOutput:
        """Generates.

        Args:
            step: `step(ids, position, state) -> (logits, state, weights)`, a decoder's step with
                its constants bound; ids are (batch, beams). Weights may be None, unless they are
                returned or the strategy uses them.
            state: the decoder's state before the first step.
            source_mask: bool (batch, source).
            return_attention: whether to return the attention weights.
            options: values for this batch that replace some of `self.options()`, each (batch,)
                or (1,).

        Raises:
            ValueError: If an option is unknown, out of range, or neither (batch,) nor (1,). Values
                of tensors are not checked but clipped, as they may be unknown while tracing.
        """
        self.check_options(options or {}, batch=ops.shape(source_mask)[0])
        carry = self.initial_carry(state, source_mask, return_attention, self.max_new_tokens)
        *_, hypotheses = run(self, step, carry, source_mask, self.max_new_tokens, options)
        return self.finalize(hypotheses)

    def options(self, batch: int = 1) -> dict[str, np.ndarray]:
        """Returns the per-row generation options and their defaults, each of shape (batch,).

        `max_new_tokens` may lower the strategy's limit for a row.
        """
        return {"max_new_tokens": np.full(batch, self.max_new_tokens, "int32")}

    @property
    def option_ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and greatest value of each per-row option."""
        return {"max_new_tokens": (1, self.max_new_tokens)}

    def check_options(self, options: dict[str, Any], batch: int) -> None:
        """Raises a `ValueError` for options that `resolve_options` would ignore or clip."""
        defaults = self.options()
        for name, value in options.items():
            if name not in defaults:
                raise ValueError(
                    f"`options` must be some of {sorted(defaults)}. Received: {name}={value}"
                )
            low, high = self.option_ranges[name]
            if ops.is_tensor(value):
                continue
            array = np.asarray(value)
            is_valid = array.dtype.kind in "iuf" and ((low <= array) & (array <= high)).all()
            if is_valid and defaults[name].dtype.kind == "i":
                is_valid = (array == np.floor(array)).all()
            if not is_valid or array.ndim > 1 or array.size not in (1, batch):
                kind = "integers" if defaults[name].dtype.kind == "i" else "numbers"
                raise ValueError(
                    f"The option `{name}` must be {kind} from {low} to {high}, one for each of the "
                    f"{batch} rows or one for all. Received: {name}={value}"
                )

    def with_default_options(self, max_new_tokens: int) -> "Strategy":
        """Returns a strategy that gives the same results with the options of this one.

        Generation is compiled for it, so that strategies that differ in their per-row options share
        the compiled function.

        Args:
            max_new_tokens: its limit, at least that of this strategy.
        """
        return self.replace(max_new_tokens=max_new_tokens)

    def resolve_options(self, source_mask: Mask, options: dict[str, Any]) -> dict[str, Tensor]:
        """Returns the value of every option for each row, (batch, 1), clipped to its range."""
        resolved, shape = {}, (ops.shape(source_mask)[0], 1)
        for name, default in self.options().items():
            option = ops.cast(options.get(name, default), default.dtype)
            option = ops.clip(option, *self.option_ranges[name])
            resolved[name] = ops.broadcast_to(ops.reshape(option, (-1, 1)), shape)  # (B, 1)
        if self.length_ratio is not None:
            source_length = ops.sum(ops.cast(source_mask, "float32"), -1, keepdims=True)
            ratio_limit = ops.cast(ops.ceil(self.length_ratio * source_length), "int32")
            limit = ops.minimum(resolved["max_new_tokens"], ops.maximum(ratio_limit, 1))
            resolved["max_new_tokens"] = limit
        return resolved

    @property
    def uses_weights(self) -> bool:
        """True if `update` needs the attention weights of each step."""
        return False

    @property
    def suppressed_ids(self) -> tuple[int, ...]:
        """Ids that are never generated: PAD, START and `suppress_tokens`."""
        return PAD, START, *self.suppress_tokens

    @property
    def logits_processors(self) -> list[LogitsProcessor]:
        """Processors of the log-probabilities that hypotheses are scored by."""
        suppress = SuppressTokens(self.suppressed_ids)
        return [suppress, ForceEnd()] if self.force_end else [suppress]

    def initial_carry(
        self, state: Any, source_mask: Mask, return_attention: bool, length: int
    ) -> tuple:
        """Returns the loop's carry before the first step: `(position, ids, state, hypotheses)`.

        `position` is the number of steps taken, `ids` the last token of each beam.

        Args:
            state: the decoder's state, with caches of `length` steps.
            source_mask: bool (batch, source).
            return_attention: whether to return the attention weights.
            length: number of tokens that the buffers of the hypotheses have room for.
        """
        batch, source_length = ops.shape(ops.convert_to_tensor(source_mask))
        ids = ops.full((batch, self.num_beams), START, "int32")
        hypotheses = self.initial_hypotheses(batch, source_length, return_attention, length)
        return ops.convert_to_tensor(0, "int32"), ids, state, hypotheses

    def initial_hypotheses(
        self, batch: Tensor, source_length: Tensor, return_attention: bool, length: int
    ) -> dict:
        """Returns the hypotheses before the first step, nested tensors (batch, beams, ...).

        The third axis of those named `ids` and `attention` is time, of this length.
        """
        raise NotImplementedError("Strategy is abstract.")

    def update(self, position, log_probs, weights, hypotheses, options, source_mask) -> tuple:
        """Extends the hypotheses by one token.

        Args:
            position: integer scalar, the number of tokens generated before this one.
            log_probs: log-probabilities of this token, (batch, beams, vocabulary).
            weights: attention weights of this step, (batch, beams, source), or None.
            hypotheses: as `initial_hypotheses` returns them.
            options: from `resolve_options`.
            source_mask: bool (batch, source).

        Returns:
            `(parents, ids, hypotheses)`: the beam that each beam extends, (batch, beams), or None
            if each extends itself; the tokens, (batch, beams); and the new hypotheses.
        """
        raise NotImplementedError("Strategy is abstract.")

    def is_running(self, hypotheses: dict) -> Tensor:
        """Returns bool (batch, beams): which hypotheses are still being extended."""
        raise NotImplementedError("Strategy is abstract.")

    def finalize(self, hypotheses: dict) -> GenerationOutput:
        """Returns the output of a finished search."""
        raise NotImplementedError("Strategy is abstract.")

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
        """Returns a copy of this strategy with some constructor arguments replaced.

        Example:

        >>> from keras_attention.generation import BeamSearch
        >>> BeamSearch(num_beams=4, length_penalty=1.0).replace(num_beams=6).num_beams
        6
        """
        return type(self)(**{**self.get_config(), **options})

    def __repr__(self):
        options = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({options})"
