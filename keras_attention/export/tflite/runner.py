"""Runners of an exported TFLite file."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.export.tflite.static_shapes import run_in_pieces

FILE = "model.tflite"


class TFLiteRunner:
    """Runs the signatures of a TFLite file in LiteRT. Several threads may call it.

    Each call takes an interpreter that no other call uses, or opens one; it computes in one thread.
    All read the same copy of the file. What XNNPACK rearranges of the weights, and the tensors, are
    each interpreter's own.

    Args:
        model: path of the `.tflite` file or of its folder, or the contents of the file.
        text_operations: whether to register the operations of TensorFlow Text.

    Attributes:
        interpreter: the first interpreter, for the descriptions of the signatures.
        default_workers: number of cores.
    """

    def __init__(self, model: str | Path | bytes, text_operations: bool = False):
        if isinstance(model, bytes):
            self.path: Path | None = None
            self._options: dict[str, Any] = {"model_content": model, "num_threads": 1}
        else:
            path = Path(model)
            self.path = path / FILE if path.is_dir() else path
            self._options = {"model_path": str(self.path), "num_threads": 1}
        self.text_operations = text_operations
        self.default_workers = os.cpu_count() or 1
        self.interpreter = self._open()
        self._idle = [self.interpreter]

    @contextlib.contextmanager
    def _take(self) -> Iterator[Any]:
        """Yields an interpreter that no other call uses."""
        try:
            interpreter = self._idle.pop()
        except IndexError:  # in place of a test of the length, which other threads change
            interpreter = self._open()
        try:
            yield interpreter
        finally:
            self._idle.append(interpreter)

    def _open(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter, InterpreterWithCustomOps

        if not self.text_operations:
            return Interpreter(**self._options)
        from tensorflow_text.core.pybinds.tflite_registrar import SELECT_TFTEXT_OPS

        return InterpreterWithCustomOps(SELECT_TFTEXT_OPS, **self._options)

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Returns the outputs of `serving_default`, or with `details` of `details` if it exists."""
        exists = "details" in self.interpreter.get_signature_list()
        name = "details" if details and exists else "serving_default"
        return self.call(name, {"source": model_inputs})

    def call(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature; inputs that it does not have are ignored.

        If its shapes are static, the batch is padded, and a larger one is run in pieces.
        """
        with self._take() as interpreter:
            run = interpreter.get_signature_runner(signature)
            details = run.get_input_details()
            shapes = {name: tuple(about["shape_signature"]) for name, about in details.items()}
            inputs = {
                name: np.asarray(inputs[name], _dtype(about["dtype"]))
                for name, about in details.items()
            }
            has_batch = is_static(shapes) and "source" in shapes  # those of `decode` have one size
            return run_in_pieces(run, inputs, shapes) if has_batch else run(**inputs)

    def __repr__(self):
        return f"{type(self).__name__}({None if self.path is None else str(self.path)!r})"


def is_static(shapes: dict[str, tuple[int, ...]]) -> bool:
    """Returns True if no size in the shapes of a signature's inputs is free.

    A file does not tell that the shape of strings is free, but no static file has them.
    """
    return "text" not in shapes and all(size >= 0 for shape in shapes.values() for size in shape)


def _dtype(dtype):
    return object if dtype in (np.bytes_, np.object_) else dtype
