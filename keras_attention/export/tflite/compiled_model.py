"""LiteRT's `CompiledModel` for files of static shapes, compared with its `Interpreter`."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.export.tflite.runner import TFLiteRunner, is_static
from keras_attention.export.tflite.static_shapes import run_in_pieces
from keras_attention.export.verification.compare import ExportError, check_same
from keras_attention.types import Batch

ALTERNATING = 4  # shortest and longest batches that are run in turn
ROUNDS = 2


class CompiledModelRunner:
    """Runs the signatures of a TFLite file of static shapes with LiteRT's `CompiledModel`.

    Its outputs are those of `TFLiteRunner`. Buffers are used again for each call, as in an app.

    Args:
        model: the `.tflite` file, or its contents.

    Raises:
        ValueError: If shapes of the file are free: `CompiledModel` returns wrong outputs for such
            files, without an error.
    """

    def __init__(self, model: Path | bytes):
        runner = TFLiteRunner(model)
        interpreter = runner.interpreter
        self._inputs = {
            name: interpreter.get_signature_runner(name).get_input_details()
            for name in interpreter.get_signature_list()
        }
        self._shapes = {
            name: {key: tuple(each["shape_signature"]) for key, each in inputs.items()}
            for name, inputs in self._inputs.items()
        }
        if not all(map(is_static, self._shapes.values())):
            raise ValueError(
                "`CompiledModel` needs a file of static shapes, from an export with `static`; run "
                f"this one with `Interpreter`. Received: {runner!r} with {self._shapes}"
            )
        self.model = model
        self._of_thread = threading.local()

    @property
    def _model(self) -> Any:
        """The model of the calling thread, with buffers by signature."""
        from ai_edge_litert.compiled_model import CompiledModel

        if not hasattr(self._of_thread, "model"):
            if isinstance(self.model, bytes):
                self._of_thread.model = CompiledModel.from_buffer(self.model)
            else:
                self._of_thread.model = CompiledModel.from_file(str(self.model))
            self._of_thread.buffers = {}
        return self._of_thread.model

    def call(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature; the batch is padded, a larger one run in pieces."""
        details = self._inputs[signature]
        inputs = {name: np.asarray(inputs[name], x["dtype"]) for name, x in details.items()}
        if "source" not in inputs:  # those of `decode` have one size
            return self._run(signature, inputs)
        return run_in_pieces(lambda **x: self._run(signature, x), inputs, self._shapes[signature])

    def _run(self, signature, inputs):
        """Runs a signature on inputs of its shapes."""
        model = self._model
        details = model.get_output_tensor_details(signature)
        if signature not in self._of_thread.buffers:
            self._of_thread.buffers[signature] = (
                {name: model.create_input_buffer_by_name(signature, name) for name in inputs},
                {name: model.create_output_buffer_by_name(signature, name) for name in details},
            )
        sources, outputs = self._of_thread.buffers[signature]
        for name, x in inputs.items():
            sources[name].write(x)
        model.run_by_name(signature, sources, outputs)
        return {name: _read(outputs[name], **about) for name, about in details.items()}


def _read(buffer, shape, dtype, **_):
    return buffer.read(int(np.prod(shape)), np.dtype(dtype).type).reshape(shape)


def compare_runtimes(
    path: Path,
    inputs: Sequence[dict[str, dict[str, Any]]],
    expected: Sequence[dict[str, dict]],
    encoded: Sequence[Batch],
    tolerance: float,
) -> dict[str, int]:
    """Runs a file of static shapes in `CompiledModel` and, once more, in `Interpreter`.

    All batches are run in order. Then the shortest and the longest are run in turn, several times,
    and signatures alternate, so that an output that depends on an earlier call is found.

    Args:
        path: the file.
        inputs: for each batch the inputs by signature.
        expected: for each batch the outputs by signature, of `Interpreter`.
        encoded: the batches.
        tolerance: relative difference of floats.

    Returns:
        The number of compared calls of `CompiledModel`.

    Raises:
        ExportError: If an integer differs or a float is not close.
    """
    order = list(range(len(inputs))) + alternating_order(encoded)
    compared = 0
    for runner in (TFLiteRunner(path), CompiledModelRunner(path)):
        name = type(runner).__name__
        for i in order:
            for signature, each in inputs[i].items():
                try:
                    outputs = runner.call(signature, each)
                except RuntimeError as error:  # LiteRT's errors
                    raise ExportError(
                        f"`{signature}` must run in {name}. Received: {error}"
                    ) from error
                names = f"{signature} in {name}", f"{signature} in the first run"
                check_same(outputs, expected[i][signature], tolerance, names)
                compared += isinstance(runner, CompiledModelRunner)
    return {"compared": compared, "equal": compared}


def alternating_order(encoded: Sequence[Batch]) -> list[int]:
    """Returns indices of short and long batches in turn, the shortest first, several times.

    Example:

    >>> lengths = (3, 1, 2)
    >>> batches = [Batch(np.ones((1, n), "int32")) for n in lengths]
    >>> [lengths[i] for i in alternating_order(batches)][:4]
    [1, 3, 2, 2]
    """
    lengths = [np.count_nonzero(batch.model_inputs) for batch in encoded]
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    pairs = zip(by_length[:ALTERNATING], by_length[::-1][:ALTERNATING], strict=True)
    return [i for pair in pairs for i in pair] * ROUNDS
