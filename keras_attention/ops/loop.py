"""Loops for every backend, XLA and TFLite; other modules do not write loops of their own.

`scan` is for loops with gradients, `while_loop` for loops that end early, `growing_while_loop` for
those whose buffers grow meanwhile.

| backend | `scan` is | because |
| --- | --- | --- |
| TensorFlow | a `while_loop` that scatters each step's output | it has gradients with and without \
XLA, and TFLite converts it at a dynamic batch size |
| TensorFlow, training, without XLA | a `while_loop` with lists of tensors | a step and its \
gradient copy no other step |
| JAX | `jax.lax.scan` | JAX's `while_loop` has no reverse-mode gradient |
| PyTorch | a Python loop | it runs eagerly |
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from keras_attention.ops.buffer import ArrayBuffer, ListBuffer
from keras_attention.types import Tensor

STAGE_LENGTH = 16  # steps after which buffers grow
FIRST_STATIC_LENGTH = 64  # of buffers where each length is compiled


def while_loop(condition: Callable, body: Callable, carry: tuple) -> tuple:
    """Runs `keras.ops.while_loop` over nested tensors of constant shapes.

    Args:
        condition: function of the carry's items that returns a scalar bool tensor.
        body: function of the carry's items that returns the next items.
        carry: tuple of nested tensors.

    Returns:
        The final carry.

    Example:

    >>> from keras import ops
    >>> t, total = while_loop(lambda t, total: t < 4, lambda t, total: (t + 1, total + t), (0, 0))
    >>> int(total)
    6
    """
    carry = tree.map_structure(ops.convert_to_tensor, carry)
    return ops.while_loop(
        condition, lambda *old: tree.map_structure(_shaped_like, old, tuple(body(*old))), carry
    )


def repeat(start: Tensor, stop: Tensor, body: Callable, carry: tuple) -> tuple:
    """Runs `carry = body(i, *carry)` for each i from `start` to `stop - 1`, without gradients.

    Args:
        start: int scalar.
        stop: int scalar.
        body: function of an int scalar and the carry's items that returns the next items.
        carry: tuple of tensors, whose shapes stay the same.

    Returns:
        The final carry.

    Example:

    >>> int(repeat(1, 4, lambda i, total: (total + i,), (0,))[0])
    6
    """
    if keras.backend.backend() == "torch":
        for i in range(int(start), int(stop)):
            carry = body(i, *carry)
        return carry
    start, stop = (ops.cast(x, "int32") for x in (start, stop))
    carry = tree.map_structure(ops.convert_to_tensor, carry)

    def step(i, *carry):
        return tree.map_structure(_shaped_like, (i, *carry), (i + 1, *body(i, *carry)))

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Parallel iterations would each have intermediate results in memory.
        return tf.while_loop(
            lambda i, *carry: i < stop, step, (start, *carry), parallel_iterations=1
        )[1:]
    return while_loop(lambda i, *carry: i < stop, step, (start, *carry))[1:]


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


def needs_static_shapes() -> bool:
    """Returns whether the operations that run now are compiled by XLA."""
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return graph is not None and GraphOrParentsInXlaContext(graph)


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


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    inputs: Any,
    outputs: Any,
    reverse: bool = False,
    training: bool = False,
) -> tuple[Any, Any]:
    """Runs `step` along the time axis, with gradients on every backend.

    Args:
        step: function of `(carry, input)` of one time step that returns `(carry, output)`.
        carry: nested tensors, the state before the first step.
        inputs: nested tensors `(batch, time, ...)`.
        outputs: nested tensors `(batch, ...)` shaped like one step's output; only their shape
            and dtype are read.
        reverse: whether to run from the last step to the first. The outputs are in the order of
            the inputs.
        training: whether the loop is part of a training step. TensorFlow then keeps inputs and
            outputs in lists of tensors, where neither a step nor its gradient copies the others.

    Returns:
        The final carry, and the outputs `(batch, time, ...)`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> x = ops.convert_to_tensor(np.array([[1.0, 2.0, 3.0]], "float32"))
    >>> total, sums = scan(lambda c, x: (c + x, c + x), ops.zeros(1), x, ops.zeros(1))
    >>> [float(s) for s in sums[0]]
    [1.0, 3.0, 6.0]
    """
    inputs = tree.map_structure(_swap_batch_and_time, inputs)  # (time, batch, ...)
    scans = {"tensorflow": _scan_tensorflow, "jax": _scan_jax, "torch": _scan_eager}
    run = scans[keras.backend.backend()]
    carry, outputs = run(step, carry, inputs, outputs, reverse, training)
    return carry, tree.map_structure(_swap_batch_and_time, outputs)


def _scan_tensorflow(step, carry, inputs, outputs, reverse, training):
    import tensorflow as tf

    length = steps = ops.shape(tree.flatten(inputs)[0])[0]
    in_lists = training and not needs_static_shapes()
    buffer_class = ListBuffer if in_lists else ArrayBuffer
    sources = tree.map_structure(lambda x: buffer_class(ops.shape(x), x.dtype), inputs)
    inputs = tree.map_structure(lambda source, x: source.of(x), sources, inputs)
    buffers = tree.map_structure(lambda y: buffer_class((length, *ops.shape(y)), y.dtype), outputs)
    blocks = tree.map_structure(lambda buffer: buffer.zeros(), buffers)
    if not in_lists:
        first = tree.flatten(blocks)[0]
        if 0 in first.shape:
            return carry, blocks  # scatter operations refuse empty arrays, even if none runs
        # A batch whose size is unknown while tracing may be empty: then no step runs.
        steps = ops.minimum(length, ops.size(first))

    def body(t, carry, blocks):
        index = length - 1 - t if reverse else t
        inputs_t = tree.map_structure(lambda source, x: source.get_at(x, index), sources, inputs)
        next_carry, output = step(carry, inputs_t)
        blocks = tree.map_structure(
            lambda buffer, each, y: buffer.set_at(each, index, y), buffers, blocks, output
        )
        return t + 1, tree.map_structure(_shaped_like, carry, next_carry), blocks

    start = (ops.convert_to_tensor(0, "int32"), carry, blocks)
    # Parallel iterations would each have intermediate results in memory. XLA needs
    # `maximum_iterations` to store the values that the gradient reads.
    _, carry, blocks = tf.while_loop(
        lambda t, *_: t < steps, body, start, parallel_iterations=1, maximum_iterations=steps
    )
    return carry, tree.map_structure(lambda buffer, each: buffer.to_tensor(each), buffers, blocks)


def _scan_jax(step, carry, inputs, outputs, reverse, training):
    return ops.scan(step, carry, inputs, reverse=reverse)


def _scan_eager(step, carry, inputs, outputs, reverse, training):
    length = ops.shape(tree.flatten(inputs)[0])[0]
    if length == 0:
        return carry, tree.map_structure(lambda y: ops.zeros((0, *ops.shape(y)), y.dtype), outputs)
    steps = [None] * length
    # The gradient of each `x[t]` would be an array of all steps.
    inputs_by_step = list(zip(*(ops.unstack(x, length) for x in tree.flatten(inputs)), strict=True))
    for t in reversed(range(length)) if reverse else range(length):
        carry, steps[t] = step(carry, tree.pack_sequence_as(inputs, inputs_by_step[t]))
    return carry, tree.map_structure(lambda *ys: ops.stack(ys), *steps)


def _swap_batch_and_time(x):
    return ops.transpose(x, (1, 0, *range(2, len(x.shape))))


def _shaped_like(old, new):
    """Returns `new` with the static shape of `old`, which TensorFlow's loops must not change."""
    if tuple(new.shape) == tuple(old.shape):
        return new
    return ops.reshape(new, ops.shape(old))
