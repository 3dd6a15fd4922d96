"""Safe reader of files written by `torch.save`, which does not need PyTorch.

Such a file is a pickle, which can call arbitrary functions when it is loaded. This reader accepts
only the few names that create tensors and rejects all others.
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
MAGIC = 0x1950A86A20F9469CFC6C  # first object in the format of torch before 1.6


def load_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Reads a state dictionary.

    Args:
        path: File written by `torch.save(model.state_dict(), path)`, in the current format or in
            that of torch before 1.6.

    Returns:
        Dictionary of arrays.

    Raises:
        ValueError: If the file is damaged or contains anything but tensors.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                state = _read_archive(archive)
        else:
            with open(path, "rb") as file:
                state = _read_legacy(file)
        return {str(name): np.asarray(array) for name, array in state.items()}
    # A damaged pickle raises many kinds of errors.
    except (*DAMAGED, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ValueError(
            "The file must be a state dictionary written by torch. "
            f"Received: {str(path)!r}, {error}"
        ) from None


class _TensorUnpickler(pickle.Unpickler):
    """Unpickler of tensors and dictionaries only, with their flat arrays in `self.storages`."""

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
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: tuple) -> np.ndarray:
        _, dtype, key, _, count, *_ = pid
        if key not in self.storages:
            self.storages[key] = np.zeros(count, dtype)  # filled later
        return self.storages[key]


def _tensor(storage, offset, shape, strides, *rest):
    size, contiguous = math.prod(shape), [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    # The stride of an axis of length 1 is arbitrary.
    strided = any(n > 1 and a != b for n, a, b in zip(shape, strides, contiguous, strict=True))
    if strided or not 0 <= offset <= offset + size <= len(storage):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} is not contiguous")
    return storage[offset : offset + size].reshape(shape)  # a view


def _parameter(tensor, *rest):
    return tensor


def _read_archive(archive):
    (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    unpickler = _TensorUnpickler(io.BytesIO(archive.read(name)))
    state = unpickler.load()
    for key, storage in unpickler.storages.items():
        content = archive.read(f"{name.removesuffix('.pkl')}/{key}")
        storage[:] = np.frombuffer(content, storage.dtype)
    return state


def _read_legacy(file):
    if _TensorUnpickler(file).load() != MAGIC:
        raise pickle.UnpicklingError("it does not start with the magic number")
    for _ in ("version", "machine"):
        _TensorUnpickler(file).load()
    unpickler = _TensorUnpickler(file)
    state = unpickler.load()
    for key in _TensorUnpickler(file).load():
        storage = unpickler.storages[key]
        file.read(8)  # number of elements, known from the pickle
        storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    return state
