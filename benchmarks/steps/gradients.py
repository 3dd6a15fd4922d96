"""Gradient of a Keras layer's weights, compiled, on TensorFlow and on JAX."""

import keras
from keras import ops


def gradient_step(layer, x, **arguments):
    """Returns a function that computes output and gradients of `layer(x, x, **arguments)` once."""
    if keras.backend.backend() == "jax":
        import jax

        trainable, other = (
            [x.value for x in variables]
            for variables in (layer.trainable_variables, layer.non_trainable_variables)
        )

        def total(trainable, x):
            output, _ = layer.stateless_call(trainable, other, x, x, **arguments)
            return ops.sum(ops.cast(output, "float32"))

        compiled = jax.jit(jax.grad(total))
        return lambda: jax.block_until_ready(compiled(trainable, x))
    import tensorflow as tf

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            total = ops.sum(ops.cast(layer(x, x, **arguments), "float32"))
        return tape.gradient(total, [variable.value for variable in layer.trainable_variables])

    return lambda: step(x)
