"""Runner of an exported ONNX file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

FILE = "model.onnx"
ERRORS_ONLY = 3  # level of ONNX Runtime's log


class ONNXRunner:
    """Runs an ONNX file in ONNX Runtime. Several threads may call it.

    Args:
        path: the `.onnx` file, or its folder.
        providers: execution providers of ONNX Runtime, in the order of preference.
    """

    default_workers = 1

    def __init__(
        self, path: str | Path, providers: tuple[str, ...] = ("CPUExecutionProvider",)
    ) -> None:
        path = Path(path)
        self.path = path / FILE if path.is_dir() else path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        self.session = onnxruntime.InferenceSession(
            str(self.path), options, providers=list(providers)
        )

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Returns the outputs of the file by name, `attention` only with `details`."""
        outputs = self.call({"source": model_inputs})
        return {name: x for name, x in outputs.items() if details or name != "attention"}

    def call(self, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Returns all outputs of the file by name."""
        names = [output.name for output in self.session.get_outputs()]
        arrays = {name: np.asarray(x, self._dtypes[name]) for name, x in inputs.items()}
        return dict(zip(names, self.session.run(names, arrays), strict=True))

    @property
    def _dtypes(self) -> dict[str, str]:
        """NumPy's types of the inputs; ONNX Runtime has `"tensor(int32)"` and `"tensor(float)"`."""
        types = {x.name: x.type.removeprefix("tensor(")[:-1] for x in self.session.get_inputs()}
        return {name: "float32" if type == "float" else type for name, type in types.items()}

    def __repr__(self):
        return f"{type(self).__name__}({str(self.path)!r})"
