"""Helpers that the tests share; import them with `from helpers import array`."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops, tree


def cases(names: Iterable[str], other_backends: Iterable[str]) -> list[str]:
    """Returns the cases that the tests of a backend run.

    TensorFlow runs all of them. JAX and PyTorch run those that together use each operation, since
    the equations have no code of their own there.
    """
    names, other_backends = list(names), list(other_backends)
    assert set(other_backends) <= set(names)
    return names if keras.backend.backend() == "tensorflow" else other_backends


def array(x: Any) -> np.ndarray:
    """Returns a tensor of any backend as a NumPy array."""
    return ops.convert_to_numpy(x)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns float32 numbers drawn from the standard normal distribution."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def assert_outputs_as_declared(layer: Any, output: Any, *inputs: Any) -> None:
    """Checks shapes and dtypes of an output against `layer.compute_output_spec`."""
    specs = tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), inputs)
    declared = layer.compute_output_spec(*specs)
    tree.assert_same_structure(declared, output)
    for spec, x in zip(tree.flatten(declared), tree.flatten(output), strict=True):
        assert spec.shape == tuple(x.shape)
        assert spec.dtype == keras.backend.standardize_dtype(x.dtype)


def model_inputs(task: Any, raw_inputs: Any) -> np.ndarray:
    """Returns what the model of a task reads: ids or pixels of one batch."""
    return np.asarray(task.preprocessor(raw_inputs).model_inputs)


def write_saved_model(task: Any, folder: Any, **options: bool) -> None:
    """Writes the SavedModel of a task without verification."""
    from keras_attention.export.saved_model import writer
    from keras_attention.tasks.export import exportable

    writer.write_saved_model(exportable(task, task.signatures(**options)), folder)


def convert(task: Any, **options: bool) -> bytes:
    """Returns the TFLite file of a task in float32, without verification."""
    from keras_attention.export.tflite import writer

    return writer.convert(task.signatures("tflite", **options))
