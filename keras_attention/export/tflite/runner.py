"""Runner of an exported TFLite file."""

from pathlib import Path
from typing import Any

import numpy as np

FILE = "model.tflite"


class TFLiteRunner:
    """Runs the signatures of a TFLite file in LiteRT.

    Args:
        path: the `.tflite` file, or its folder.
        text_operations: whether to register the operations of TensorFlow Text.
    """

    def __init__(self, path: str | Path, text_operations: bool = False):
        from ai_edge_litert.interpreter import Interpreter, InterpreterWithCustomOps

        path = Path(path)
        self.path = path / FILE if path.is_dir() else path
        if text_operations:
            from tensorflow_text.core.pybinds.tflite_registrar import SELECT_TFTEXT_OPS

            self.interpreter = InterpreterWithCustomOps(
                SELECT_TFTEXT_OPS, model_path=str(self.path)
            )
        else:
            self.interpreter = Interpreter(model_path=str(self.path))

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Returns the outputs of `serving_default`, or with `details` of `details` if it exists."""
        exists = "details" in self.interpreter.get_signature_list()
        name = "details" if details and exists else "serving_default"
        return self.call(name, {"source": model_inputs})

    def call(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature; inputs that it does not have are ignored."""
        run = self.interpreter.get_signature_runner(signature)
        details = run.get_input_details()
        return run(
            **{
                name: np.asarray(inputs[name], _dtype(about["dtype"]))
                for name, about in details.items()
            }
        )

    def __repr__(self):
        return f"{type(self).__name__}({str(self.path)!r})"


def _dtype(dtype):
    return object if dtype in (np.bytes_, np.object_) else dtype
