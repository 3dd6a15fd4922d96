"""TensorFlow's C API: loads a SavedModel as TF Serving does, without Python's TensorFlow.

The library is the one in TensorFlow's wheel, called through `ctypes`. These files need NumPy and
nothing else, and import one another by relative names: `c_api_script.py` has them as `c_api`,
where nothing of this library may be imported.
"""

from .session import Session

__all__ = ["Session"]
