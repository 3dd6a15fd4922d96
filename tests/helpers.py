"""Helpers that the tests share; import them with `from helpers import array`."""

import contextlib
import io
import runpy
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache, partial
from inspect import ismethod
from pathlib import Path
from typing import Any
from unittest import mock

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


def few_on_jax(count: int, values: Sequence[Any]) -> Sequence[Any]:
    """Returns the first values on JAX, which compiles each case; all on the other backends."""
    return values[:count] if keras.backend.backend() == "jax" else values


def seeds(count: int) -> range:
    """Returns the seeds that the tests of a backend run: all on TensorFlow, one on the others."""
    return range(count if keras.backend.backend() == "tensorflow" else 1)


def array(x: Any) -> np.ndarray:
    """Returns a tensor of any backend as a NumPy array."""
    return ops.convert_to_numpy(x)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns float32 numbers drawn from the standard normal distribution."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def train_sentencepiece(texts: Iterable[str], size: int, **options: Any) -> bytes:
    """Trains a SentencePiece model with ids of its own, as in OPUS-MT; unigram by default."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=size, minloglevel=2,
        hard_vocab_limit=False, **options,
    )  # fmt: skip
    return model.getvalue()


def accept_interrupts() -> None:
    """For `preexec_fn` of a process that gets SIGINT, which background jobs of a shell ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class CompiledOnJAX:
    """A layer without random state, whose methods JAX compiles as a whole.

    Called directly, a layer is compiled operation by operation, which takes JAX much longer. On the
    other backends the methods are those of the layer. Arrays are arguments of the compiled
    function, NumPy's scalars too; it is compiled again for each other value of a Python number.
    """

    def __init__(self, layer: keras.layers.Layer):
        self.layer = layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run("__call__", *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.layer, name)
        return partial(self.run, name) if ismethod(attribute) else attribute

    def run(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Calls a method of the layer."""
        if keras.backend.backend() != "jax":
            return getattr(self.layer, name)(*args, **kwargs)
        import jax

        leaves, structure = jax.tree.flatten((args, kwargs))
        arrays = [x if isinstance(x, (np.ndarray, np.generic, jax.Array)) else None for x in leaves]
        others = [x if array is None else None for x, array in zip(leaves, arrays, strict=True)]
        values = [variable.value for variable in self.layer.variables]
        return self.compiled(name, structure, tuple(others), arrays, values)

    @cached_property
    def compiled(self) -> Callable:
        import jax

        def run(name, structure, others, arrays, values):
            leaves = [y if x is None else x for x, y in zip(arrays, others, strict=True)]
            args, kwargs = jax.tree.unflatten(structure, leaves)
            mapping = zip(self.layer.variables, values, strict=True)
            with keras.StatelessScope(state_mapping=mapping):
                return getattr(self.layer, name)(*args, **kwargs)

        return jax.jit(run, static_argnums=(0, 1, 2))


@lru_cache(maxsize=16)
def compiled_on_jax(layer: keras.layers.Layer) -> CompiledOnJAX:
    """Returns a layer whose methods JAX compiles as a whole, see `CompiledOnJAX`."""
    return CompiledOnJAX(layer)


def fit_steps(model: keras.Model, inputs: Any, labels: np.ndarray, steps: int) -> np.ndarray:
    """Fits a model to one batch in a single epoch, since epochs take longer than their steps.

    Returns:
        The loss of each step.
    """
    means = []

    def repeat(x):
        return np.concatenate([x] * steps)

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            means.append(logs["loss"])  # of the epoch's steps so far

    model.fit(
        tree.map_structure(repeat, inputs), repeat(labels),
        batch_size=len(labels), shuffle=False, callbacks=[Record()], verbose=0,
    )  # fmt: skip
    return np.diff(np.array(means) * np.arange(1, steps + 1), prepend=0.0)


def assert_outputs_as_declared(layer: Any, output: Any, *inputs: Any) -> None:
    """Checks shapes and dtypes of an output against `layer.compute_output_spec`."""
    specs = tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), inputs)
    declared = layer.compute_output_spec(*specs)
    tree.assert_same_structure(declared, output)
    for spec, x in zip(tree.flatten(declared), tree.flatten(output), strict=True):
        assert spec.shape == tuple(x.shape)
        assert spec.dtype == keras.backend.standardize_dtype(x.dtype)


def gradients(
    function: Callable, inputs: Sequence[Any], variables: Sequence[keras.Variable] = ()
) -> list[np.ndarray | None]:
    """Returns the gradients of a scalar function, as float64 arrays.

    Args:
        function: function of the inputs.
        inputs: floating-point arrays or tensors.
        variables: variables that the function reads.

    Returns:
        One gradient for each input and variable; `None` where the function does not depend on it.
    """
    inputs = [ops.convert_to_tensor(x) for x in inputs]
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            result = function(*inputs)
        results = tape.gradient(result, [*inputs, *(variable.value for variable in variables)])
        results = [None if x is None else tf.convert_to_tensor(x) for x in results]
    elif backend == "jax":
        import jax

        def stateless(inputs, values):
            with keras.StatelessScope(state_mapping=zip(variables, values, strict=True)):
                return function(*inputs)

        gradient = jax.jit(jax.grad(stateless, (0, 1)))
        values = [variable.value for variable in variables]
        results = [x for pair in gradient(inputs, values) for x in pair]
    else:
        import torch

        inputs = [x.detach().requires_grad_() for x in inputs]
        sources = [*inputs, *(variable.value for variable in variables)]
        results = torch.autograd.grad(function(*inputs), sources, allow_unused=True)
    return [None if x is None else float64(x) for x in results]


def float64(x: Any) -> np.ndarray:
    """Returns a tensor of any floating-point dtype as a float64 array."""
    is_float64 = keras.backend.standardize_dtype(x.dtype) == "float64"
    return array(x if is_float64 else ops.cast(x, "float32")).astype("float64")


def model_inputs(task: Any, raw_inputs: Any) -> np.ndarray:
    """Returns what the model of a task reads: ids or pixels of one batch."""
    return np.asarray(task.preprocessor(raw_inputs).model_inputs)


def assert_trains_and_reloads(
    model: keras.Model, inputs: Any, targets: np.ndarray, folder: Any, epochs: int
) -> None:
    """Checks that training changes every weight, and that a saved model predicts the same."""
    before = model.get_weights()
    history = model.fit(inputs, targets, epochs=epochs, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for weight, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        # the softmax is invariant to a shift of the scores, so the key's bias has no gradient
        assert (new != old).any() or weight.path.endswith("key/bias"), weight.path
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0), atol=1e-6
    )


def run_script(script: Path, options: str, folder: Path) -> str:
    """Runs a Python script in a folder and returns what it prints.

    It runs in this process, since a new one takes several seconds to import TensorFlow.
    """
    printed, arguments = io.StringIO(), [str(script), *shlex.split(options)]
    with (
        mock.patch.object(sys, "argv", arguments),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")  # as in a new process, where none is an error
        runpy.run_path(str(script), run_name="__main__")
    return printed.getvalue()


def write_saved_model(task: Any, folder: Any, **options: bool) -> None:
    """Writes the SavedModel of a task without verification, with the digests of its files."""
    from keras_attention.export.saved_model import writer
    from keras_attention.tasks.export import exportable
    from keras_attention.utils.manifest import write_manifest

    writer.write_saved_model(exportable(task, task.signatures(**options)), folder)
    write_manifest(folder / "verification.json", {})


def convert(task: Any, **options: bool) -> bytes:
    """Returns the TFLite file of a task in float32, without verification."""
    from keras_attention.export.tflite import conversion, flatbuffer

    return flatbuffer.write_model(conversion.convert(task.signatures("tflite", **options)))


def edited(file: bytes, edit: Callable[[Any], None]) -> bytes:
    """Returns a TFLite file after a change of its contents."""
    from keras_attention.export.tflite import flatbuffer

    model = flatbuffer.read_model(file)
    edit(model)
    return flatbuffer.write_model(model)


@contextlib.contextmanager
def running_server(app: Any) -> Iterator[str]:
    """Runs an ASGI application in a thread; yields its address, such as `localhost:8501`."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    yield f"localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
