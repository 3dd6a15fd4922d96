"""Compiled functions compared with the eager layers, before and after a change of the layers."""

import keras
import numpy as np
import pytest

from helpers import array, normal
from keras_attention.utils.compiled import (
    FUNCTIONS,
    CompiledModels,
    LayerState,
    predict_on_batch,
    recompile_on_layer_change,
)

X = normal(5, 6)


@recompile_on_layer_change
class Checked(keras.Model):
    """Functional model whose functions are compiled anew."""


def make(dtype="float32"):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(4, "tanh", dtype=dtype)
    outputs = keras.layers.Dense(3, dtype=dtype)(hidden(inputs))
    model = Checked(inputs, keras.ops.cast(outputs, "float32"))
    for i, weight in enumerate(model.weights):
        weight.assign(normal(*weight.shape, seed=i))
    model.compile("sgd", "mse")
    return model


def lora(model):
    layer = model.layers[1]
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(normal(2, 4))


def lora_alpha(model):
    model.layers[1].lora_alpha = 8.0


def quantize_one_layer(model):
    model.layers[1].quantize("int8")


def half_precision(model):
    for layer in model.layers[1:3]:
        layer.dtype_policy = "float16"


CHANGES = [lora, quantize_one_layer, half_precision]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_compiled_functions_follow_a_change_of_layers(change):
    model = make()
    before, loss = model.predict_on_batch(X), model.test_on_batch(X, np.zeros((5, 3)))
    state = LayerState(model)
    change(model)
    assert state != LayerState(model)
    expected = array(model(X)).astype("float32")
    assert np.abs(expected - before).max() > 1e-4  # else the test would show nothing
    np.testing.assert_allclose(model.predict_on_batch(X), expected, atol=1e-5)
    received = model.test_on_batch(X, np.zeros((5, 3)))
    np.testing.assert_allclose(received, (expected**2).mean(), rtol=1e-4)
    assert received != loss


@pytest.mark.tensorflow_only
def test_a_training_step_is_traced_once():
    traced = []

    @recompile_on_layer_change
    class Counted(keras.Model):
        def train_step(self, data):
            traced.append(self.optimizer.built)
            return super().train_step(data)

    inputs = keras.Input((6,))
    model = Counted(inputs, keras.layers.Dense(3)(inputs))
    model.compile("adam", "mse")
    model.fit(X, np.zeros((5, 3)), batch_size=5, epochs=2, verbose=0)
    assert traced == [True]
    assert model.optimizer.iterations == 2


def test_alpha_of_lora_is_a_constant_of_the_compiled_function():
    model = make()
    lora(model)
    before = model.predict_on_batch(X)
    lora_alpha(model)
    after = model.predict_on_batch(X)
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(after, array(model(X)), atol=1e-5)


def test_functions_are_kept_while_the_layers_stay():
    model = make()
    y = np.zeros((5, 3))
    model.train_on_batch(X, y), model.test_on_batch(X, y), model.predict_on_batch(X)
    functions = [getattr(model, name) for name in FUNCTIONS]
    model.layers[1].kernel.assign(np.ones((6, 4)))
    model.train_on_batch(X, y), model.test_on_batch(X, y)
    np.testing.assert_allclose(model.predict_on_batch(X), array(model(X)), atol=1e-6)
    assert [getattr(model, name) for name in FUNCTIONS] == functions


def test_state_depends_on_each_kind_of_change():
    model = make()
    states = [LayerState(model)]
    for change in (lora, lora_alpha, quantize_one_layer, half_precision):
        change(model)
        states.append(LayerState(model))
    model.layers[1].is_gptq_calibrated = True
    states.append(LayerState(model))
    assert all(state == state for state in states)
    assert all(a != b for i, a in enumerate(states) for b in states[:i])
    assert LayerState(model) != 5


def test_compiled_models_drop_all_after_a_change_and_else_the_least_recently_used():
    model, compiled, made = make(), CompiledModels(max_size=2), []

    def get(key):
        return compiled.get(model, key, lambda: made.append(key) or key)

    assert [get(key) for key in "abacab"] == list("abacab")
    assert made == ["a", "b", "c", "b"] and len(compiled) == 2
    lora(model)
    assert get("b") == "b" and made[4:] == ["b"] and len(compiled) == 1


@pytest.mark.tensorflow_only
def test_predictions_of_all_shapes_share_one_trace():
    ids = keras.Input((None,), dtype="int32")
    model = Checked(ids, keras.layers.Embedding(9, 2)(ids))
    for batch, length in ((1, 4), (1, 2), (3, 4), (2, 7)):
        x = np.arange(batch * length, dtype="int32").reshape(batch, length) % 9
        np.testing.assert_array_equal(predict_on_batch(model, x), array(model(x)))
    assert model.predict_function.experimental_get_tracing_count() == 1


@pytest.mark.tensorflow_only
def test_predictions_of_images_share_one_trace_of_their_size():
    images = keras.Input((4, 6, 3))
    model = Checked(images, keras.layers.Conv2D(2, 3)(images))
    for batch in (1, 2, 3):
        x = normal(batch, 4, 6, 3)
        np.testing.assert_allclose(predict_on_batch(model, x), array(model(x)), atol=1e-5)
    (function,) = model.predict_function._list_all_concrete_functions()
    assert function.output_shapes.as_list() == [None, 2, 4, 2]


@pytest.mark.tensorflow_only
def test_predictions_without_a_graph(eager):
    model = make()
    np.testing.assert_allclose(predict_on_batch(model, X), array(model(X)), atol=1e-6)
    assert model.predict_function.experimental_get_tracing_count() == 0
