"""Decoding loop shared by all strategies, with buffers of full length or ones that grow.

The loop's carry is `(position, ids, state, hypotheses)`: the number of steps taken, the last token
of each beam, the decoder's state, and the hypotheses of the strategy.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras import ops

from keras_attention.generation.active_rows import (
    ActiveRows,
    drop_ended_rows,
    merge_outputs,
    replace_tensors_of_rows,
    tensors_of_rows,
)
from keras_attention.generation.hypotheses import grow_buffers, reorder_beams
from keras_attention.generation.logits_processors import compute_log_probs
from keras_attention.ops.growing_loop import growing_while_loop
from keras_attention.ops.loop import while_loop
from keras_attention.types import Mask, Tensor

if TYPE_CHECKING:
    from keras_attention.generation.strategy import Strategy


def run(
    strategy: "Strategy",
    step: Callable,
    carry: tuple,
    source_mask: Mask,
    max_steps: Tensor,
    options: dict[str, Any] | None = None,
) -> tuple:
    """Runs the loop from a carry until no hypothesis is running, and returns the last carry.

    Args:
        strategy: strategy that chooses the tokens.
        step: as in `Strategy.__call__`.
        carry: from `Strategy.initial_carry` or an earlier run.
        source_mask: bool (batch, source).
        max_steps: integer scalar, maximum number of steps, those of earlier runs included; at most
            the length of the buffers.
        options: as in `Strategy.__call__`.
    """
    source_mask = ops.cast(source_mask, "bool")
    options = strategy.resolve_options(source_mask, options or {})
    return while_loop(
        lambda *carry: _continues(strategy, max_steps, *carry),
        lambda *carry: _generate_token(strategy, step, source_mask, options, *carry),
        carry,
    )


def run_growing(
    strategy: "Strategy",
    bind_step: Callable[[Any], Callable],
    grow: Callable[[Any, Any, Tensor], Any],
    constants: Any,
    carry: tuple,
    source_mask: Mask,
    options: dict[str, Any] | None = None,
) -> dict[str, Tensor]:
    """Runs the loop with buffers and caches that grow with the number of tokens.

    Whenever they grow, rows that have ended leave the batch.

    Args:
        strategy: strategy that chooses the tokens.
        bind_step: `bind_step(constants)` returns the step, as in `Strategy.__call__`.
        grow: `grow(state, constants, length)` returns the decoder's state with caches of `length`
            steps.
        constants: the decoder's constants.
        carry: from `Strategy.initial_carry`, with buffers and caches of length 0.
        source_mask: bool (batch, source).
        options: as in `Strategy.__call__`.

    Returns:
        The fields of a `GenerationOutput` that are not `None`.
    """
    source_mask = ops.cast(source_mask, "bool")
    options = strategy.resolve_options(source_mask, options or {})
    read = constants, source_mask, options  # by all steps
    batch = source_mask.shape[0]

    def body(rows, *carry):
        constants, source_mask, options = replace_tensors_of_rows(read, batch, rows.constants)
        return _generate_token(strategy, bind_step(constants), source_mask, options, *carry)

    def start_stage(length, rows, position, ids, state, hypotheses):
        rows, (ids, state, hypotheses) = drop_ended_rows(
            rows,
            ops.any(strategy.is_running(hypotheses), axis=1),
            strategy.finalize(hypotheses).fields(),
            (ids, state, hypotheses),
        )
        constants, *_ = replace_tensors_of_rows(read, batch, rows.constants)
        state = grow(state, constants, length)
        return rows, (position, ids, state, grow_buffers(hypotheses, length))

    def finish(rows, position, ids, state, hypotheses):
        outputs = merge_outputs(rows, strategy.finalize(hypotheses).fields())
        return grow_buffers(outputs, strategy.max_new_tokens)

    indices = ops.arange(ops.shape(source_mask)[0], dtype="int32")
    rows = ActiveRows(tensors_of_rows(read, batch), indices, strategy.finalize(carry[-1]).fields())
    return growing_while_loop(
        condition=lambda *items: _continues(strategy, *items),
        body=body,
        start_stage=start_stage,
        finish=finish,
        constants=rows,
        carry=carry,
        limit=strategy.max_new_tokens,
    )


def _continues(strategy, max_steps, position, ids, state, hypotheses):
    return ops.logical_and(position < max_steps, ops.any(strategy.is_running(hypotheses)))


def _generate_token(strategy, step, source_mask, options, position, ids, state, hypotheses):
    """Extends the hypotheses by one token and returns the loop's next carry."""
    logits, state, weights = step(ids, position, state)
    log_probs = compute_log_probs(
        logits, strategy.logits_processors, position, options
    )  # (B, K, V)
    parents, ids, hypotheses = strategy.update(
        position, log_probs, weights, hypotheses, options, source_mask
    )
    if parents is not None:
        state = reorder_beams(state, parents)
    return position + 1, ids, state, hypotheses
