"""Loop whose buffers grow with the number of its steps."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from keras_attention.ops.loop import needs_static_shapes, while_loop
from keras_attention.types import Tensor

STAGE_LENGTH = 16  # steps after which buffers grow
FIRST_STATIC_LENGTH = 64  # of buffers where each length is compiled


def growing_while_loop(
    condition: Callable,
    body: Callable,
    start_stage: Callable,
    finish: Callable,
    constants: Any,
    carry: tuple,
    limit: int,
) -> Any:
    """Runs `while_loop` in stages, each with longer buffers.

    A step whose cost depends on the length of the buffers then costs by the number of steps run,
    and not by their limit. In a graph of TensorFlow the stages are the steps of an outer loop, in
    which the length of the buffers is not static, so that `body` is traced once and TFLite
    converts it. XLA needs static lengths: there `body` is traced for each stage, of which there
    are fewer.

    Args:
        condition: function of a length and the carry's items: whether to run another step, with
            buffers of this length.
        body: function of the constants and the carry's items that returns the next items.
        start_stage: function of a length, an int or an int32 scalar, the constants and the carry's
            items that returns `(constants, carry)` of the next stage, with buffers of this length.
        finish: function of the constants and the carry's items that returns the result, whose shape
            must not depend on the length of the buffers.
        constants: nested tensors that stay the same within a stage.
        carry: tuple of nested tensors, with empty buffers.
        limit: greatest length.

    Returns:
        The result of `finish`.

    Example:

    >>> from keras import ops
    >>> squares = growing_while_loop(
    ...     condition=lambda length, t, buffer: t < min(length, 40),
    ...     body=lambda _, t, buffer: (
    ...         t + 1, ops.slice_update(buffer, (t,), ops.reshape(t * t, 1))
    ...     ),
    ...     start_stage=lambda length, _, t, buffer: ((), (t, grow_axis(buffer, 0, length))),
    ...     finish=lambda _, t, buffer: grow_axis(buffer, 0, 100),
    ...     constants=(),
    ...     carry=(ops.convert_to_tensor(0), ops.zeros(0, "int32")),
    ...     limit=100,
    ... )
    >>> squares.shape[0], int(squares[39]), int(squares[40])
    (100, 1521, 0)
    """
    carry = tree.map_structure(ops.convert_to_tensor, carry)

    def run_stage(length, constants, carry):
        constants, carry = start_stage(length, constants, *carry)
        return constants, while_loop(
            lambda *items: condition(length, *items),
            lambda *items: body(constants, *items),
            carry,
        )

    def run_stages(lengths, constants, carry):
        constants, carry = run_stage(lengths[0], constants, carry)
        if len(lengths) == 1:
            return finish(constants, *carry)
        return ops.cond(
            condition(limit, *carry),
            lambda: run_stages(lengths[1:], constants, carry),
            lambda: finish(constants, *carry),
        )

    if needs_static_shapes():
        return run_stages(stage_lengths(limit), constants, carry)
    if keras.backend.backend() == "tensorflow":
        constants, carry = _run_stages_in_graph(
            condition, run_stage, start_stage, constants, carry, limit
        )
        return finish(constants, *carry)
    length = 0
    while condition(limit, *carry):
        length = min(length + STAGE_LENGTH, limit)
        constants, carry = run_stage(length, constants, carry)
    return finish(constants, *carry)


def _run_stages_in_graph(condition, run_stage, start_stage, constants, carry, limit):
    """The stages as an outer loop, for graphs of TensorFlow."""
    import tensorflow as tf  # keras.ops.while_loop has no `shape_invariants`

    def run_next(length, constants, carry):
        length = ops.minimum(length + STAGE_LENGTH, limit)
        return length, *run_stage(length, constants, carry)

    start = constants, carry
    invariants = tree.map_structure(
        lambda x, grown: tf.TensorShape(
            [n if n == m else None for n, m in zip(x.shape, grown.shape, strict=True)]
        ),
        start,
        _trace_two_stages(start_stage, start),
    )
    _, constants, carry = tf.while_loop(
        lambda length, constants, carry: condition(limit, *carry),
        run_next,
        (tf.constant(0), *start),
        shape_invariants=(tf.TensorShape(()), *invariants),
    )
    return constants, carry


def _trace_two_stages(start_stage, start):
    """Returns specifications of the constants and the carry of the second stage.

    They are traced in a graph of their own, whose inputs are not known, so that no size is taken
    for static because it follows from the values at the start.
    """
    import tensorflow as tf

    def start_two(constants, carry):
        constants, carry = start_stage(1, constants, *carry)
        return start_stage(3, constants, *carry)  # adds more than the first

    specs = tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), start)
    function = tf.function(start_two, autograph=False)
    return function.get_concrete_function(*specs).structured_outputs


def stage_lengths(limit: int) -> list[int]:
    """Returns the lengths of buffers where each length is compiled: 64, 256, 1024, ..., `limit`.

    Example:

    >>> stage_lengths(200)
    [64, 200]
    """
    lengths = [FIRST_STATIC_LENGTH]
    while lengths[-1] < limit:
        lengths.append(4 * lengths[-1])
    return [*lengths[:-1], limit]


def grow_axis(x: Tensor, axis: int, length: Tensor) -> Tensor:
    """Appends zeros to one axis, up to `length`, an int or an int32 scalar.

    The length of the result is static if `length` is an int.
    """
    shape = list(ops.shape(x))
    missing = [*shape[:axis], length - shape[axis], *shape[axis + 1 :]]
    grown = ops.concatenate([x, ops.zeros(missing, x.dtype)], axis=axis)
    return ops.reshape(grown, [*shape[:axis], length, *shape[axis + 1 :]])
