"""Loops for every backend, XLA and TFLite; other modules do not write loops of their own.

`scan` is for loops with gradients, `while_loop` for loops that end early, `repeat` for those that
need neither, and `ops.growing_loop` for those whose buffers grow meanwhile.

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


def needs_static_shapes() -> bool:
    """Returns whether the operations that run now are compiled by XLA."""
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return graph is not None and GraphOrParentsInXlaContext(graph)


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
