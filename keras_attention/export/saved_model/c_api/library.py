"""TensorFlow's C library, the one in its wheel, through `ctypes`."""

import ctypes
import importlib.machinery
import os
from pathlib import Path


class Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


class Output(ctypes.Structure):
    """TF_Output: an operation of a graph, and which of what it gives."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def content(buffer: Buffer) -> memoryview:
    """What a buffer holds, copied."""
    return memoryview(ctypes.string_at(buffer.data, buffer.length))


class Status:
    """A TF_Status; leaving the block raises a `ValueError` with what it says."""

    def __init__(self, library):
        self._library = library

    def __enter__(self):
        self._status = self._library.TF_NewStatus()
        return self._status

    def __exit__(self, kind, *_):
        code = self._library.TF_GetCode(self._status)
        message = self._library.TF_Message(self._status).decode("utf-8", "replace")
        self._library.TF_DeleteStatus(self._status)
        if code and kind is None:
            raise ValueError(f"{message} (TF_Code {code})")


ENDS = ("so.2", "2.dylib")  # Linux, macOS
_P, _S, _I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
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


def load() -> ctypes.CDLL:
    """TensorFlow's library, with the types of what is called of it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # the model may be there beside it
    names = [f"libtensorflow_{part}.{end}" for part in ("framework", "cc") for end in ENDS]
    files = [path for name in names if (path := _package("tensorflow") / name).is_file()]
    if len(files) != 2:
        raise ValueError(f"Expected TensorFlow's wheel to have two of {names}. Received: {files}")
    library = [ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL) for path in files][-1]
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def tensorflow_text_libraries() -> list[Path]:
    """The files of tensorflow-text's operations, which TF Serving has linked in."""
    return sorted(_package("tensorflow_text").glob("python/ops/_*.so"))


def _package(name: str) -> Path:
    """Where a package is, without importing it."""
    found = importlib.machinery.PathFinder.find_spec(name)
    if found is None:
        raise ValueError(f"Expected the package {name} to be installed. Received: none")
    return Path(found.origin).parent
