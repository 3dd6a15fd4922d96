"""Exports to runtimes without Python, each run there and compared with its model.

`task.export` writes one, `keras_attention.tasks.load_exported` loads it, and `verify` runs it again
on recorded samples.
"""

from keras_attention.utils.optional_imports import require_extra

# The TFLite part needs the rest of the extra; tasks import this package.
require_extra("export", "keras_attention.export", ("tensorflow", "tensorflow_text"))

from keras_attention.export.signatures import Comparison, Exportable, Predictions, Signature
from keras_attention.export.verification.compare import ExportError
from keras_attention.export.verification.verify import verify

__all__ = ["Comparison", "ExportError", "Exportable", "Predictions", "Signature", "verify"]
