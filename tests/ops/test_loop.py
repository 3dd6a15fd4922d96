"""`scan` and `while_loop` against loops in NumPy, eager and compiled."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.ops.loop import scan, while_loop

B, T, D = 2, 5, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, D)).astype("float32")
MASK = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0]], bool)


def nested_step(carry, inputs):
    x, mask = inputs["x"], ops.expand_dims(inputs["mask"], -1)
    count, (h,) = carry["count"], carry["h"]
    new = ops.where(mask, ops.tanh(0.5 * h + x), h)
    return {"count": count + 1, "h": (new,)}, {"double": 2 * new, "count": ops.sum(h, -1)}


def nested_loop(reverse):
    h, double, sums = np.zeros((B, D)), np.zeros((B, T, D)), np.zeros((B, T))
    for t in reversed(range(T)) if reverse else range(T):
        sums[:, t] = h.sum(-1)
        h = np.where(MASK[:, t, None], np.tanh(0.5 * h + X[:, t]), h)
        double[:, t] = 2 * h
    return h, double, sums


@pytest.mark.parametrize("reverse, training", [(False, False), (True, False), (True, True)])
def test_scan_of_nested_tensors_matches_a_loop(reverse, training):
    carry = {"count": ops.convert_to_tensor(0, "int32"), "h": (ops.zeros((B, D)),)}
    inputs = {"x": ops.convert_to_tensor(X), "mask": ops.convert_to_tensor(MASK)}
    blank = {"double": ops.zeros((B, D)), "count": ops.zeros((B,))}
    last, outputs = scan(nested_step, carry, inputs, blank, reverse, training)
    h, double, sums = nested_loop(reverse)
    assert int(last["count"]) == T
    np.testing.assert_allclose(array(last["h"][0]), h, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(outputs["double"]), double, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(outputs["count"]), sums, rtol=1e-5, atol=1e-6)


def test_scan_keeps_integers_and_half_precision():
    inputs = ops.cast(X[:, :, 0], "float16")
    blank = ops.zeros((B,), "int32"), ops.zeros((B,), "float16")

    def step(count, x):
        return count + 1, (count + ops.zeros((B,), "int32"), x + x)

    _, (counts, doubled) = scan(step, ops.convert_to_tensor(0, "int32"), inputs, blank)
    assert array(counts).tolist() == [[0, 1, 2, 3, 4]] * B
    np.testing.assert_array_equal(array(doubled), 2 * X[:, :, 0].astype("float16"))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch, time", [(0, T), (B, 0), (0, 0), (1, 1)])
def test_scan_of_the_smallest_inputs(batch, time, training):
    x, start = ops.convert_to_tensor(X[:batch, :time]), ops.zeros((batch, D))
    last, outputs = scan(lambda c, x: (c + x, c + x), start, x, start, training=training)
    np.testing.assert_allclose(array(last), X[:batch, :time].sum(1), rtol=1e-6)
    np.testing.assert_allclose(array(outputs), X[:batch, :time].cumsum(1), rtol=1e-6)


class Decay(keras.layers.Layer):
    """`h_t = w h_(t-1) + x_t`, summed over all of it."""

    def build(self, shape):
        self.w = self.add_weight(shape=(), initializer=keras.initializers.Constant(0.5), name="w")

    def call(self, x, training=False):
        def step(h, x):
            h = self.w * h + x
            return h, h

        start = ops.zeros((ops.shape(x)[0], D))
        return ops.sum(scan(step, start, x, start, training=training)[1], axis=(1, 2))


def gradient_of_w(jit_compile):
    """Returns the gradient of the sum with respect to `w`, from one step of gradient descent."""
    model = keras.Sequential([keras.Input((None, D)), Decay()])
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, p: p, jit_compile=jit_compile)
    model.fit(X, np.zeros(B), verbose=0)
    return 0.5 - array(model.trainable_weights[0]).item()


def expected_gradient():
    h, dh, total = np.zeros((B, D)), np.zeros((B, D)), 0.0
    for t in range(T):
        dh = h + 0.5 * dh
        h = 0.5 * h + X[:, t]
        total += dh.sum()
    return total / B


def test_gradients_reach_every_step():
    np.testing.assert_allclose(gradient_of_w(False), expected_gradient(), rtol=1e-4)


@pytest.mark.tensorflow_only
def test_gradients_under_xla_with_a_dynamic_batch_size():
    import tensorflow as tf

    np.testing.assert_allclose(gradient_of_w(True), expected_gradient(), rtol=1e-4)
    w = tf.Variable(0.5)

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec((None, None, D))])
    def gradient(x):
        with tf.GradientTape() as tape:
            start = ops.zeros((ops.shape(x)[0], D))

            def step(h, x):
                return w * h + x, w * h + x

            total = tf.reduce_sum(scan(step, start, x, start)[1]) / tf.cast(B, "float32")
        return tape.gradient(total, w)

    np.testing.assert_allclose(gradient(X), expected_gradient(), rtol=1e-4)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("training", [False, True])
def test_dynamic_batch_that_is_empty_at_run_time(training):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None, D))])
    def sums(x):
        start = ops.zeros((ops.shape(x)[0], D))
        return scan(lambda c, x: (c + x, c + x), start, x, start, training=training)[1]

    assert sums(X[:0]).shape == (0, T, D)
    assert sums(X[:, :0]).shape == (B, 0, D)
    np.testing.assert_allclose(sums(X), X.cumsum(1), rtol=1e-6)


def test_while_loop_ends_early_and_nests():
    def body(t, state):
        return t + 1, {"sum": state["sum"] + ops.cast(t, "float32"), "last": (t,)}

    start = (0, {"sum": np.zeros(2, "float32"), "last": (np.array(-1, "int32"),)})
    t, state = while_loop(lambda t, state: ops.all(state["sum"] < 10.0), body, start)
    assert int(t) == 5  # 0 + 1 + 2 + 3 + 4 is the first sum that is not below 10
    assert array(state["sum"]).tolist() == [10.0, 10.0]
    assert int(state["last"][0]) == 4


def test_while_loop_may_run_no_step():
    (total,) = while_loop(lambda total: total < 0.0, lambda total: (total + 1.0,), (2.0,))
    assert float(total) == 2.0


@pytest.mark.tensorflow_only
def test_steps_of_a_scan_do_not_run_in_parallel():
    """Parallel steps would each have their intermediate results in memory."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def run(x):
        return scan(lambda c, x: (c + x, c * x), ops.zeros(3), x, ops.zeros(3))

    x = np.arange(12, dtype="float32").reshape(3, 4)
    _, outputs = run(x)
    np.testing.assert_allclose(outputs, (np.cumsum(x, 1) - x) * x)
    operations = run.get_concrete_function(x).graph.get_operations()
    loops = [each for each in operations if each.type in ("While", "StatelessWhile")]
    assert [loop.get_attr("parallel_iterations") for loop in loops] == [1]
