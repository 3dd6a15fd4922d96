"""Arrays of a file that `torch.save` wrote, read without torch and without running what it says.

Such a file is a pickle, which may name any function to be called when it is read. Here only the
names below are known, and they make arrays; any other is refused.
"""

import collections
import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8",
    "IntStorage": "<i4", "BoolStorage": "?",
}  # fmt: skip
DAMAGED = EOFError, LookupError, TypeError, AttributeError, ValueError
MAGIC = 0x1950A86A20F9469CFC6C  # what files of torch before 1.6 begin with


def load_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Reads a state dictionary.

    Args:
        path: what `torch.save(model.state_dict(), path)` wrote, in today's format or in that of
            torch before 1.6.

    Returns:
        Arrays by name.

    Raises:
        ValueError: if it is no such file, or names something that does not belong to arrays.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                state = _read_archive(archive)
        else:
            with open(path, "rb") as file:
                state = _read_legacy(file)
        return {str(name): np.asarray(array) for name, array in state.items()}
    # What a damaged pickle does to the one who reads it has no name of its own.
    except (*DAMAGED, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"Expected a state dictionary that torch wrote. Received: {str(path)!r}, {error}"
        ) from None


class _Arrays(pickle.Unpickler):
    """Knows tensors and dictionaries alone; `self.storages` are flat arrays by their keys."""

    def __init__(self, file: Any):
        super().__init__(file)
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return np.dtype(STORAGES[name])
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: tuple) -> np.ndarray:
        _, dtype, key, _, count, *_ = pid
        if key not in self.storages:
            self.storages[key] = np.zeros(count, dtype)  # filled when the rest is read
        return self.storages[key]


def _tensor(storage, offset, shape, strides, *rest):
    size, contiguous = math.prod(shape), [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    # The stride of an axis of length 1 says nothing.
    apart = any(n > 1 and a != b for n, a, b in zip(shape, strides, contiguous, strict=True))
    if apart or not 0 <= offset <= offset + size <= len(storage):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} is not in one piece")
    return storage[offset : offset + size].reshape(shape)  # a view


def _parameter(tensor, *rest):
    return tensor


def _read_archive(archive):
    (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    unpickler = _Arrays(io.BytesIO(archive.read(name)))
    state = unpickler.load()
    for key, storage in unpickler.storages.items():
        content = archive.read(f"{name.removesuffix('.pkl')}/{key}")
        storage[:] = np.frombuffer(content, storage.dtype)
    return state


def _read_legacy(file):
    if _Arrays(file).load() != MAGIC:
        raise pickle.UnpicklingError("it does not begin as such files do")
    for _ in ("version", "machine"):
        _Arrays(file).load()
    unpickler = _Arrays(file)
    state = unpickler.load()
    for key in _Arrays(file).load():
        storage = unpickler.storages[key]
        file.read(8)  # how many, which the pickle said
        storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    return state
