"""Runner of an exported SavedModel."""

from pathlib import Path

import numpy as np
import tensorflow as tf


class SavedModelRunner:
    """Runs the signatures `ids` and `ids_details` of a SavedModel in TensorFlow.

    Args:
        folder: folder of a version.

    Raises:
        ValueError: If the SavedModel has no signature `ids`.
    """

    default_workers = 1

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._saved_model = tf.saved_model.load(str(folder))  # owns what the signatures use
        if "ids" not in self._saved_model.signatures:
            raise ValueError(
                "`folder` must be a SavedModel of this library, with a signature 'ids'. "
                f"Received: {str(folder)!r} with {sorted(self._saved_model.signatures)}"
            )

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Returns the outputs of `ids`, or with `details` those of `ids_details` if it exists."""
        signatures = self._saved_model.signatures
        run = signatures["ids_details" if details and "ids_details" in signatures else "ids"]
        (spec,) = run.structured_input_signature[1].values()
        outputs = run(source=tf.cast(model_inputs, spec.dtype))
        return {name: x.numpy() for name, x in outputs.items()}

    def __repr__(self):
        return f"{type(self).__name__}({str(self.folder)!r})"
