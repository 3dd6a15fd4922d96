"""Reverse-mode differentiation on every backend: functions with a gradient of their own, and VJPs.

`keras.ops.custom_gradient` has one output and tensors only on PyTorch, and Keras has no
vector-Jacobian product, so the backends are called here.
"""

import weakref
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
from keras import tree

from keras_attention.types import Tensor


def call_with_gradient(
    forward: Callable[..., tuple[Tensor, tuple[Tensor, ...]]],
    backward: Callable[..., Sequence[Tensor | None]],
    inputs: Sequence[Tensor],
    constants: Any = (),
    key: Hashable | None = None,
) -> Tensor:
    """Calls a function whose gradient another function computes.

    Args:
        forward: function of `(inputs, constants)` that returns `(output, saved)`, the output and
            the tensors that `backward` needs in addition to the inputs.
        backward: function of `(inputs, constants, saved, output_gradient)` that returns the
            gradient of each input.
        inputs: floating-point tensors.
        constants: nested tensors without gradients, such as masks.
        key: in a graph of TensorFlow, calls with equal keys share one trace of `forward` and of
            `backward`, which then must read tensors of the graph from their arguments only. With
            `None` each call is traced.

    Returns:
        The output.

    Example:

    >>> from keras import ops
    >>> forward = lambda inputs, constants: (ops.exp(inputs[0]), (ops.exp(inputs[0]),))
    >>> backward = lambda inputs, constants, saved, gradient: (gradient * saved[0],)
    >>> float(call_with_gradient(forward, backward, [ops.zeros(())]))
    1.0
    """
    inputs = [keras.ops.convert_to_tensor(x) for x in inputs]
    constants = tree.map_structure(keras.ops.convert_to_tensor, constants)
    backend = keras.backend.backend()
    if backend == "jax":
        return _call_jax(forward, backward, inputs, constants)
    if backend == "torch":
        return _call_torch(forward, backward, inputs, constants)
    if key is not None:
        forward, backward = _shared_trace(forward, backward, key)
    return _call_tensorflow(forward, backward, inputs, constants)


def value_and_vjp(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, Any]:
    """Evaluates a function and returns its vector-Jacobian product.

    Args:
        function: function of the inputs.
        inputs: floating-point tensors.

    Returns:
        `(output, vjp)`; `vjp(gradient)` is the list of the inputs' gradients for that of the
        output, `None` where the output does not depend on an input. Call it once.

    Example:

    >>> from keras import ops
    >>> value, vjp = value_and_vjp(lambda x, y: x * y, [ops.array(2.0), ops.array(3.0)])
    >>> [float(x) for x in vjp(ops.array(1.0))]
    [3.0, 2.0]
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.vjp(function, *inputs)
    if backend == "torch":
        import torch

        with torch.enable_grad():
            inputs = [x.detach().requires_grad_() for x in inputs]
            output = function(*inputs)
        return output.detach(), lambda gradient: torch.autograd.grad(
            output, inputs, gradient, allow_unused=True
        )
    import tensorflow as tf

    inputs = [tf.convert_to_tensor(x) for x in inputs]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        output = function(*inputs)
    return output, lambda gradient: [
        None if x is None else tf.convert_to_tensor(x)
        for x in tape.gradient(output, inputs, output_gradients=gradient)
    ]


def _call_tensorflow(forward, backward, inputs, constants):
    import tensorflow as tf

    @tf.custom_gradient
    def call(*inputs):
        sources = [tf.stop_gradient(x) for x in inputs]  # no tape records what `forward` does
        output, saved = forward(sources, constants)
        return output, lambda gradient: tuple(backward(sources, constants, saved, gradient))

    return call(*inputs)


# Traces of the latest graphs: (weak reference to the graph, {key: (forward, backward)}). A trace
# may refer to its graph, so that only the number of graphs limits how long one is kept.
_traces: deque = deque(maxlen=4)


def _shared_trace(forward, backward, key):
    """Returns `forward` and `backward` as functions that the current graph traces once."""
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    traces = next((traces for known, traces in _traces if known() is graph), None)
    if traces is None:
        traces = {}
        _traces.append((weakref.ref(graph), traces))
    if key not in traces:
        traces[key] = graph_function(forward), graph_function(backward)
    return traces[key]


def graph_function(function: Callable) -> Callable:
    """Returns a TensorFlow function that is prepared to run when it runs first, and only then."""
    import tensorflow as tf

    attributes = {"_noinline": True}
    return tf.function(function, autograph=False, experimental_attributes=attributes)


def _call_jax(forward, backward, inputs, constants):
    import jax

    @jax.custom_vjp
    def call(inputs, constants):
        return forward(inputs, constants)[0]

    def call_and_save(inputs, constants):
        output, saved = forward(inputs, constants)
        return output, (inputs, constants, saved)

    call.defvjp(call_and_save, lambda saved, gradient: (list(backward(*saved, gradient)), None))
    return call(inputs, constants)


def _call_torch(forward, backward, inputs, constants):
    import torch

    class Call(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            output, saved = forward(inputs, constants)
            ctx.num_inputs = len(inputs)
            ctx.save_for_backward(*inputs, *saved)
            return output

        @staticmethod
        def backward(ctx, gradient):
            tensors = ctx.saved_tensors
            inputs, saved = tensors[: ctx.num_inputs], tensors[ctx.num_inputs :]
            return tuple(backward(inputs, constants, saved, gradient))

    return Call.apply(*inputs)
