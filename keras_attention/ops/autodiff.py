"""Reverse-mode differentiation on every backend: functions with a gradient of their own, and VJPs.

`keras.ops.custom_gradient` has one output and tensors only on PyTorch, and Keras has no
vector-Jacobian product, so the backends are called here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_attention.types import Tensor


def call_with_gradient(
    forward: Callable[..., tuple[Tensor, tuple[Tensor, ...]]],
    backward: Callable[..., Sequence[Tensor | None]],
    inputs: Sequence[Tensor],
) -> Tensor:
    """Calls a function whose gradient another function computes.

    Args:
        forward: function of the inputs that returns `(output, saved)`, the output and the tensors
            that `backward` needs in addition to the inputs.
        backward: function of `(inputs, saved, output_gradient)` that returns the gradient of each
            input, `None` for inputs without one, such as masks.
        inputs: tensors.

    Returns:
        The output.

    Example:

    >>> from keras import ops
    >>> forward = lambda x: (ops.exp(x), (ops.exp(x),))
    >>> backward = lambda inputs, saved, gradient: (gradient * saved[0],)
    >>> float(call_with_gradient(forward, backward, [ops.zeros(())]))
    1.0
    """
    call = {"jax": _call_jax, "torch": _call_torch}.get(keras.backend.backend(), _call_tensorflow)
    return call(forward, backward, [keras.ops.convert_to_tensor(x) for x in inputs])


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


def _call_tensorflow(forward, backward, inputs):
    import tensorflow as tf

    @tf.custom_gradient
    def call(*inputs):
        output, saved = forward(*inputs)
        return output, lambda gradient: tuple(backward(inputs, saved, gradient))

    return call(*inputs)


def _call_jax(forward, backward, inputs):
    import jax

    @jax.custom_vjp
    def call(*inputs):
        return forward(*inputs)[0]

    def call_and_save(*inputs):
        output, saved = forward(*inputs)
        return output, (inputs, saved)

    call.defvjp(call_and_save, lambda saved, gradient: tuple(backward(*saved, gradient)))
    return call(*inputs)


def _call_torch(forward, backward, inputs):
    import torch

    class Call(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            output, saved = forward(*inputs)
            ctx.num_inputs = len(inputs)
            ctx.save_for_backward(*inputs, *saved)
            return output

        @staticmethod
        def backward(ctx, gradient):
            tensors = ctx.saved_tensors
            return tuple(backward(tensors[: ctx.num_inputs], tensors[ctx.num_inputs :], gradient))

    return Call.apply(*inputs)
