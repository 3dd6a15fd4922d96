"""Buffers that grow while a loop runs."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.ops.growing_loop import grow_axis, growing_while_loop


def buffer_lengths(steps, limit):
    """Runs `steps` steps, each of which writes the length of the buffer; returns the buffer."""

    def write_length(_, t, buffer):
        length = ops.reshape(ops.cast(ops.shape(buffer)[0], "int32"), (1,))
        return t + 1, ops.slice_update(buffer, (t,), length)

    return growing_while_loop(
        condition=lambda length, t, buffer: (t < length) & (t < steps),
        body=write_length,
        start_stage=lambda length, _, t, buffer: ((), (t, grow_axis(buffer, 0, length))),
        finish=lambda _, t, buffer: grow_axis(buffer, 0, limit),
        constants=(),
        carry=(ops.convert_to_tensor(0, "int32"), ops.zeros(0, "int32")),
        limit=limit,
    )


@pytest.mark.parametrize("steps", [0, 1, 16, 17, 150])
def test_buffers_are_no_longer_than_the_stage_that_is_needed(steps):
    stages = [64] * 64 + [150] * 86  # compiled for each length
    if keras.backend.backend() != "jax":
        stages = np.repeat([*range(16, 150, 16), 150], 16).tolist()[:150]
    expected = stages[:steps] + [0] * (150 - steps)
    assert array(buffer_lengths(steps, limit=150)).tolist() == expected


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("compiled", [False, True])
def test_growing_buffers_in_a_graph_and_under_xla(compiled):
    import tensorflow as tf

    function = tf.function(lambda steps: buffer_lengths(steps, 70), jit_compile=compiled)
    stages = [64] * 64 + [70] * 6 if compiled else np.repeat([16, 32, 48, 64, 70], 16).tolist()
    for steps in (0, 40, 70):
        assert function(tf.constant(steps)).numpy().tolist() == stages[:steps] + [0] * (70 - steps)
    assert function.experimental_get_tracing_count() == 1
    assert function.get_concrete_function(tf.constant(0)).output_shapes.as_list() == [70]
