"""Loads and runs a SavedModel with TensorFlow's C API, as TF Serving does.

The C library is the one in TensorFlow's wheel, called with `ctypes`. TensorFlow's Python package
is not imported. The modules of this package need NumPy only and import one another by relative
names, because `c_api_script.py` imports them as `c_api` in a process without `keras_attention`.
"""

from .session import STRING, Session, Signature, Tensor

__all__ = ["STRING", "Session", "Signature", "Tensor"]
