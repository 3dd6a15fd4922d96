"""The one place that knows how to loop on each backend, under XLA and for TFLite.

`scan` is for loops that are trained through, `while_loop` for loops that end early.

| backend | `scan` | why |
| --- | --- | --- |
| TensorFlow | `while_loop` that writes each step by scatter | has gradients with and without XLA; TFLite converts it at a free batch size, unlike TensorArray |
| JAX | `jax.lax.scan` | its `while_loop` has no reverse-mode gradient |
| PyTorch | a Python loop | eager |
"""  # noqa: E501

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree


def while_loop(condition: Callable, body: Callable, carry: tuple) -> tuple:
    """`keras.ops.while_loop` over nested tensors whose shapes stay as they began.

    Args:
        condition: takes the carry's items, returns a scalar bool tensor.
        body: takes the carry's items, returns the next ones.
        carry: tuple of nested tensors.

    Returns:
        The last carry.

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


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    inputs: Any,
    outputs: Any,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Runs `step` along the time axis, with gradients on every backend.

    Args:
        step: takes `(carry, input)` of one time step, returns `(carry, output)`.
        carry: nested tensors, the state before the first step.
        inputs: nested tensors `(batch, time, ...)`.
        outputs: nested tensors `(batch, ...)` shaped like one step's output; only their shape
            and dtype are read.
        reverse: run from the last step to the first. Outputs keep the order of the inputs.

    Returns:
        The last carry, and the outputs `(batch, time, ...)`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> x = ops.convert_to_tensor(np.array([[1.0, 2.0, 3.0]], "float32"))
    >>> total, sums = scan(lambda c, x: (c + x, c + x), ops.zeros(1), x, ops.zeros(1))
    >>> [float(s) for s in sums[0]]
    [1.0, 3.0, 6.0]
    """
    inputs = tree.map_structure(_swap_batch_and_time, inputs)  # (time, batch, ...)
    run = {"jax": _scan_jax, "torch": _scan_eager}.get(keras.backend.backend(), _scan_while)
    carry, outputs = run(step, carry, inputs, outputs, reverse)
    return carry, tree.map_structure(_swap_batch_and_time, outputs)


def _scan_while(step, carry, inputs, outputs, reverse):
    length = ops.shape(tree.flatten(inputs)[0])[0]
    written = tree.map_structure(lambda y: ops.zeros((length, *ops.shape(y)), y.dtype), outputs)

    def body(t, carry, written):
        at = length - 1 - t if reverse else t
        carry_after, y = step(carry, tree.map_structure(lambda x: ops.take(x, at, axis=0), inputs))
        index = ops.reshape(at, (1, 1))
        written_after = tree.map_structure(
            lambda buffer, y: ops.scatter_update(buffer, index, ops.expand_dims(y, 0)), written, y
        )
        new = (t + 1, carry_after, written_after)
        return tree.map_structure(_shaped_like, (t, carry, written), new)

    if 0 in tree.flatten(written)[0].shape:
        return carry, written  # TensorFlow's scatter refuses empty buffers, also where none is run
    start = (ops.convert_to_tensor(0, "int32"), carry, written)
    # An empty batch, when only running tells that it is one, takes no step.
    steps = ops.minimum(length, ops.size(tree.flatten(written)[0]))
    # XLA needs `maximum_iterations` to keep what the gradient will read.
    _, carry, written = ops.while_loop(
        lambda t, *_: t < steps, body, start, maximum_iterations=steps
    )
    return carry, written


def _scan_jax(step, carry, inputs, outputs, reverse):
    return ops.scan(step, carry, inputs, reverse=reverse)


def _scan_eager(step, carry, inputs, outputs, reverse):
    length = ops.shape(tree.flatten(inputs)[0])[0]
    if length == 0:
        return carry, tree.map_structure(lambda y: ops.zeros((0, *ops.shape(y)), y.dtype), outputs)
    steps = [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        carry, steps[t] = step(carry, tree.map_structure(lambda x: x[t], inputs))  # noqa: B023
    return carry, tree.map_structure(lambda *ys: ops.stack(ys), *steps)


def _swap_batch_and_time(x):
    return ops.transpose(x, (1, 0, *range(2, len(x.shape))))


def _shaped_like(old, new):
    """Gives `new` the static shape of `old`: TensorFlow's loops refuse a change of it."""
    if tuple(new.shape) == tuple(old.shape):
        return new
    return ops.reshape(new, ops.shape(old))
