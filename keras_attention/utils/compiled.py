"""Compiled functions that do not outlive a change of the layers that they were compiled from.

A compiled function repeats what the layers did while it was traced. Keras makes it again after
`compile` and `Model.quantize`, but not after LoRA, another dtype policy or the quantization of a
single layer, so it would silently continue with the earlier layers.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import keras
import numpy as np
from keras import tree

from keras_attention.utils.lazy_tensorflow import tf

FUNCTIONS = ("train_function", "test_function", "predict_function")
MAX_COMPILED_MODELS = 8

ModelClass = TypeVar("ModelClass", bound=type[keras.Model])


class LayerState:
    """Everything about the layers of a model that a compiled function contains as a constant.

    These are the layers, their own variables (not the values of these), the compute and variable
    dtypes, the quantization mode, rank and alpha of LoRA, and whether a quantized layer is
    calibrated. Two states are equal if a function that was compiled in one is right in the other.

    Args:
        model: the model.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> before = LayerState(model)
    >>> model.layers[0].enable_lora(1)
    >>> before == LayerState(model)
    False
    """

    def __init__(self, model: keras.Model):
        # The objects are kept, so that no new object takes the address of an old one.
        self._objects: list[Any] = []
        self._values: list[Any] = []
        for layer in model._flatten_layers():
            variables = [*layer._trainable_variables, *layer._non_trainable_variables]
            self._objects += [layer, *variables]
            self._values += [
                id(layer),
                *map(id, variables),
                layer.compute_dtype,
                layer.variable_dtype,
                layer.quantization_mode,
                getattr(layer, "lora_rank", None),
                getattr(layer, "lora_alpha", None),
                getattr(layer, "is_gptq_calibrated", None),
                getattr(layer, "is_awq_calibrated", None),
            ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerState) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]


class CompiledModels:
    """Keras models made from another model, each with its compiled function.

    All are dropped when the layers of that model have changed, and the least recently used one when
    there are more than `max_size`.

    Args:
        max_size: maximum number of models.
    """

    def __init__(self, max_size: int = MAX_COMPILED_MODELS):
        self.max_size = max_size
        self._models: OrderedDict[Hashable, Any] = OrderedDict()
        self._state: LayerState | None = None
        self._lock = threading.Lock()

    def get(self, model: keras.Model, key: Hashable, make: Callable[[], Any]) -> Any:
        """Returns the model of this key, or makes it.

        Args:
            model: the model whose layers are compiled.
            key: everything that the result of `make` depends on, except the layers.
            make: returns the model to keep.
        """
        state = LayerState(model)
        with self._lock:
            if state != self._state:
                self._models.clear()
                self._state = state
            if key not in self._models:
                self._models[key] = make()
            self._models.move_to_end(key)
            while len(self._models) > self.max_size:
                self._models.popitem(last=False)
            return self._models[key]

    def __len__(self) -> int:
        return len(self._models)


def recompile_on_layer_change(cls: ModelClass) -> ModelClass:
    """Class decorator: Keras's compiled functions of a model are made again when its layers change.

    These are the functions of `fit`, `evaluate` and `predict` and of their `..._on_batch`. The
    optimizer is built before that of `fit`, see `_build_optimizer`.
    """
    for name in FUNCTIONS:
        setattr(cls, f"make_{name}", _checked(name, getattr(cls, f"make_{name}")))
    return cls


def _checked(name, make):
    """Returns `make_train_function` or another, `make`, with a check of the layers' state."""

    def make_function(self, force=False):
        if name == "train_function":
            _build_optimizer(self)
        state, function = LayerState(self), getattr(self, name)
        # Another thread may have made the function and not set its state yet.
        is_current = function is None or getattr(function, "layer_state", None) == state
        make(self, force or not is_current)
        getattr(self, name).layer_state = state
        return getattr(self, name)

    return make_function


def _build_optimizer(model):
    """Creates the optimizer's variables, as Keras does before `fit` on JAX and PyTorch.

    On TensorFlow, Keras creates them in the first step, and a function that creates variables is
    traced twice.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)


def predict_on_batch(model: keras.Model, inputs: Any) -> Any:
    """Returns `model.predict_on_batch(inputs)`, traced once for all shapes of batches.

    On TensorFlow, Keras traces a function for the first shape, once more for the second, with the
    axes free in which the two differ, and once more for each shape that differs in another axis.
    Here the first axis is free from the start, and the second of ids. A function compiled by XLA
    is left as it is, since XLA compiles each shape in any case.

    Args:
        model: a model of a class decorated with `recompile_on_layer_change`.
        inputs: nested arrays. The first axis is the batch; the second axis of an array with two is
            a length.

    Returns:
        Nested arrays.

    Example:

    >>> ids = keras.Input((None,), dtype="int32")
    >>> model = keras.Model(ids, keras.layers.Embedding(9, 2)(ids))
    >>> predict_on_batch(model, np.ones((3, 4), "int32")).shape
    (3, 4, 2)
    """
    if keras.backend.backend() == "tensorflow":
        model.make_predict_function()
        function = model.predict_function
        if _is_traced_by_call(model, function):
            specs = tree.map_structure(_spec_of_any_batch, inputs)
            function.get_concrete_function([(specs,)])
    return model.predict_on_batch(inputs)


def _is_traced_by_call(model, function):
    """Returns whether calling a function of TensorFlow would trace it, for the first time."""
    runs_eagerly = model.run_eagerly or tf.config.functions_run_eagerly()
    if runs_eagerly or model.jit_compile:
        return False
    return function.experimental_get_tracing_count() == 0


def _spec_of_any_batch(x):
    x = np.asarray(x)
    shape = [None] * x.ndim if x.ndim <= 2 else [None, *x.shape[1:]]
    return tf.TensorSpec(shape, x.dtype)
