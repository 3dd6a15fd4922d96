"""Loads the C library of TensorFlow's wheel with `ctypes`."""

import ctypes
import importlib.machinery
import os
from pathlib import Path
from typing import Any


class Buffer(ctypes.Structure):
    """The C structure `TF_Buffer`."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


class Output(ctypes.Structure):
    """The C structure `TF_Output`: an operation of a graph and the index of one of its outputs."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def copy_buffer(buffer: Buffer) -> memoryview:
    """Returns a copy of a buffer's contents."""
    return memoryview(ctypes.string_at(buffer.data, buffer.length))


class Status:
    """Context manager that creates a `TF_Status` and raises its error as a `ValueError`.

    Args:
        library: the library from `load_library`.
    """

    def __init__(self, library: ctypes.CDLL):
        self._library = library

    def __enter__(self) -> int:
        self._status = self._library.TF_NewStatus()
        return self._status

    def __exit__(self, exception_type: type[BaseException] | None, *_: Any) -> None:
        code = self._library.TF_GetCode(self._status)
        message = self._library.TF_Message(self._status).decode("utf-8", "replace")
        self._library.TF_DeleteStatus(self._status)
        if code and exception_type is None:
            raise ValueError(f"{message} (TF_Code {code})")


SUFFIXES = ("so.2", "2.dylib")  # Linux, macOS
_P, _S, _I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
# The result type and the argument types of each function.
FUNCTIONS = {
    "TF_NewStatus": (_P,),
    "TF_DeleteStatus": (None, _P),
    "TF_GetCode": (_I, _P),
    "TF_Message": (_S, _P),
    "TF_NewBuffer": (ctypes.POINTER(Buffer),),
    "TF_DeleteBuffer": (None, ctypes.POINTER(Buffer)),
    "TF_LoadLibrary": (_P, _S, _P),
    "TF_GetOpList": (Buffer, _P),
    "TF_NewGraph": (_P,),
    "TF_DeleteGraph": (None, _P),
    "TF_GraphOperationByName": (_P, _P, _S),
    "TF_OperationNumOutputs": (_I, _P),
    "TF_NewSessionOptions": (_P,),
    "TF_DeleteSessionOptions": (None, _P),
    "TF_LoadSessionFromSavedModel": (
        _P, _P, _P, _S, ctypes.POINTER(_S), _I, _P, ctypes.POINTER(Buffer), _P,
    ),
    "TF_SessionRun": (
        None, _P, _P, _P, _P, _I, _P, _P, _I, _P, _I, _P, _P,
    ),
    "TF_DeleteSession": (None, _P, _P),
    "TF_AllocateTensor": (_P, _I, ctypes.POINTER(ctypes.c_int64), _I, ctypes.c_size_t),
    "TF_DeleteTensor": (None, _P),
    "TF_TensorType": (_I, _P),
    "TF_NumDims": (_I, _P),
    "TF_Dim": (ctypes.c_int64, _P, _I),
    "TF_TensorByteSize": (ctypes.c_size_t, _P),
    "TF_TensorElementCount": (ctypes.c_int64, _P),
    "TF_TensorData": (_P, _P),
    "TF_StringInit": (None, _P),
    "TF_StringCopy": (None, _P, _S, ctypes.c_size_t),
    "TF_StringGetDataPointer": (_P, _P),
    "TF_StringGetSize": (ctypes.c_size_t, _P),
    "TF_StringDealloc": (None, _P),
}  # fmt: skip


def load_library() -> ctypes.CDLL:
    """Returns TensorFlow's C library, with the types of `FUNCTIONS` declared.

    Raises:
        ValueError: If TensorFlow's wheel is not installed or lacks the library.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The Keras model may be on the same GPU, in another process.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    folder = _package_folder("tensorflow")
    names = [
        f"libtensorflow_{part}.{suffix}" for part in ("framework", "cc") for suffix in SUFFIXES
    ]
    files = [folder / name for name in names if (folder / name).is_file()]
    if len(files) != 2:
        raise ValueError(f"TensorFlow's wheel must contain two of {names}. Received: {files}")
    library = [ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL) for path in files][-1]
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def tensorflow_text_libraries() -> list[Path]:
    """Returns the libraries of tensorflow-text's operations, which TF Serving links."""
    return sorted(_package_folder("tensorflow_text").glob("python/ops/_*.so"))


def _package_folder(name: str) -> Path:
    """Returns the folder of an installed package without importing the package."""
    spec = importlib.machinery.PathFinder.find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"The package `{name}` must be installed. Received: no such package")
    return Path(spec.origin).parent
