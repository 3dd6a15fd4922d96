"""Safe reader of files written by `torch.save`, which does not need PyTorch.

Such a file is a pickle, a program that can call arbitrary functions when it is loaded. This reader
interprets the operations itself: the few that create dictionaries of tensors, and no others.
"""

import io
import math
import pickletools
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from keras_attention.utils.archive import check_directory, read_member
from keras_attention.utils.limits import limits
from keras_attention.utils.reading import errors_name_file

STORAGES = {
    "FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8",
    "IntStorage": "<i4", "BoolStorage": "?",
}  # fmt: skip
MAGIC = 0x1950A86A20F9469CFC6C  # first object in the format of torch before 1.6
MAX_OPERATIONS = 2**20  # of a pickle; a tensor takes about 30
MAX_AXES = 64  # of an array of NumPy

ORDERED_DICT = "collections OrderedDict"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"


class Storage(NamedTuple):
    """The numbers of one or several tensors, as the pickle describes them."""

    key: str
    dtype: np.dtype
    num_elements: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.num_elements * self.dtype.itemsize


class Tensor(NamedTuple):
    """A contiguous part of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]


def load_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Reads a state dictionary.

    Args:
        path: File written by `torch.save(model.state_dict(), path)`, in the current format or in
            that of torch before 1.6.

    Returns:
        Dictionary of arrays.

    Raises:
        ValueError: If the file is damaged, contains anything but tensors, or exceeds
            `torch_pickle_bytes` of `keras_attention.utils.limits`.
    """
    with errors_name_file(path, "The file must be a state dictionary written by torch"):
        if zipfile.is_zipfile(path):
            check_directory(path)
            with zipfile.ZipFile(path) as archive:
                return _read_archive(archive, path.stat().st_size)
        with open(path, "rb") as file:
            return _read_legacy(file, path.stat().st_size)


class Interpreter:
    """Interpreter of a pickle of dictionaries, lists, strings, numbers and tensors.

    Attributes:
        storages: The storages by their keys, after `run`.
    """

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        """Returns the object of a pickle, and leaves the file after its end.

        Raises:
            ValueError: If the pickle has an operation that is not needed for tensors, or too many.
        """
        for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if number >= MAX_OPERATIONS:
                raise ValueError(f"its pickle has more than {MAX_OPERATIONS} operations")
            name = operation.name
            if name == "STOP":
                return self._stack.pop()
            if name in VALUES:
                self._stack.append(argument)
            elif name in CONSTANTS:
                self._stack.append(CONSTANTS[name])
            elif name in METHODS:
                METHODS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise ValueError(f"its pickle has the operation {name}")
        raise ValueError("its pickle has no end")

    def _pop_mark(self) -> list:
        """Removes the items after the last mark, and returns them."""
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _mark(self, _):
        self._marks.append(len(self._stack))

    def _empty_dict(self, _):
        self._stack.append({})

    def _empty_list(self, _):
        self._stack.append([])

    def _tuple(self, _):
        self._stack.append(tuple(self._pop_mark()))

    def _short_tuple(self, count):
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise IndexError
        del self._stack[-count:]
        self._stack.append(items)

    def _put(self, index):
        self._memo[index] = self._stack[-1]

    def _memoize(self, _):
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index):
        self._stack.append(self._memo[index])

    def _append(self, _):
        item = self._stack.pop()
        _require(self._stack[-1], list).append(item)

    def _appends(self, _):
        items = self._pop_mark()
        _require(self._stack[-1], list).extend(items)

    def _set_item(self, _):
        value, key = self._stack.pop(), self._stack.pop()
        _update(self._stack[-1], [key, value])

    def _set_items(self, _):
        items = self._pop_mark()
        _update(self._stack[-1], items)

    def _global(self, name):
        self._stack.append(_find(name))

    def _stack_global(self, _):
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(_find(f"{_require(module, str)} {_require(name, str)}"))

    def _reduce(self, _):
        arguments, function = _require(self._stack.pop(), tuple), self._stack.pop()
        if function is ORDERED_DICT:
            result: Any = {}
            for pair in arguments[0] if arguments else ():
                _update(result, list(pair))
        elif function is TENSOR:
            result = _tensor(*arguments[:4])
        elif function is PARAMETER:
            result = _require(arguments[0], Tensor)
        else:
            raise ValueError("its pickle calls something else than a function of tensors")
        self._stack.append(result)

    def _build(self, _):
        """Drops attributes of a dictionary, such as `_metadata` of a state dictionary."""
        self._stack.pop()
        _require(self._stack[-1], dict)

    def _persistent_id(self, _):
        kind, dtype, key, _, count, *_ = _require(self._stack.pop(), tuple)
        storage = Storage(_require(key, str), _require(dtype, np.dtype), _require(count, int))
        if kind != "storage" or count < 0 or self.storages.setdefault(key, storage) != storage:
            raise ValueError("the description of a storage is wrong")
        self._stack.append(storage)


VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
METHODS: dict[str, Any] = {
    "MARK": Interpreter._mark, "EMPTY_DICT": Interpreter._empty_dict,
    "EMPTY_LIST": Interpreter._empty_list, "TUPLE": Interpreter._tuple,
    "TUPLE1": lambda self, _: self._short_tuple(1), "TUPLE2": lambda self, _: self._short_tuple(2),
    "TUPLE3": lambda self, _: self._short_tuple(3), "BINPUT": Interpreter._put,
    "LONG_BINPUT": Interpreter._put, "MEMOIZE": Interpreter._memoize, "BINGET": Interpreter._get,
    "LONG_BINGET": Interpreter._get, "APPEND": Interpreter._append,
    "APPENDS": Interpreter._appends, "SETITEM": Interpreter._set_item,
    "SETITEMS": Interpreter._set_items, "GLOBAL": Interpreter._global,
    "STACK_GLOBAL": Interpreter._stack_global, "REDUCE": Interpreter._reduce,
    "BUILD": Interpreter._build, "BINPERSID": Interpreter._persistent_id,
}  # fmt: skip


def _require(value, kind):
    if not isinstance(value, kind):
        expected = getattr(kind, "__name__", kind)  # `str | int` has no name
        raise ValueError(f"its pickle has a {type(value).__name__}, expected {expected}")
    return value


def _update(target, items):
    """Adds keys and values, which alternate. Hashing a deeply nested key would crash."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        _require(target, dict)[_require(key, str | int)] = value


def _find(name):
    module, _, attribute = name.partition(" ")
    if module == "torch" and attribute in STORAGES:
        return np.dtype(STORAGES[attribute])
    for known in (ORDERED_DICT, TENSOR, PARAMETER):
        if name == known:
            return known  # this object, which is compared by identity
    raise ValueError(f"it refers to {module}.{attribute}"[:200])


def _tensor(storage, offset, shape, strides):
    _require(storage, Storage)
    if max(len(_require(shape, tuple)), len(_require(strides, tuple))) > MAX_AXES:
        raise ValueError(f"a tensor has more than {MAX_AXES} axes")
    for number in (offset, *shape, *strides):
        if not 0 <= _require(number, int) < 2**62:
            raise ValueError("a tensor has a negative or a very large size")
    contiguous = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    # The stride of an axis of length 1 is arbitrary.
    strided = any(n > 1 and a != b for n, a, b in zip(shape, strides, contiguous, strict=True))
    end = offset + math.prod(shape)
    if strided or end > storage.num_elements:
        raise ValueError(f"a tensor of shape {shape} is not contiguous"[:200])
    return Tensor(storage, offset, shape)


def _read_archive(archive: zipfile.ZipFile, file_size: int) -> dict[str, np.ndarray]:
    (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    content = read_member(archive, name, limits.torch_pickle_bytes)
    interpreter = Interpreter()
    state = interpreter.run(io.BytesIO(content))
    _check_sizes(interpreter.storages, file_size)
    folder = name.removesuffix(".pkl")
    arrays = {}
    for key, storage in interpreter.storages.items():
        content = read_member(archive, f"{folder}/{key}", storage.size)
        if len(content) != storage.size:
            raise ValueError(
                f"a storage of {storage.size} bytes has {len(content)} bytes in the archive"
            )
        arrays[key] = np.frombuffer(content, storage.dtype)
    return _to_arrays(state, arrays)


def _read_legacy(file: BinaryIO, file_size: int) -> dict[str, np.ndarray]:
    head = io.BytesIO(file.read(limits.torch_pickle_bytes))
    if Interpreter().run(head) != MAGIC:
        raise ValueError("it does not start with the magic number")
    for _ in ("version", "machine"):
        Interpreter().run(head)
    interpreter = Interpreter()
    state = interpreter.run(head)
    keys = _require(Interpreter().run(head), list)
    _check_sizes(interpreter.storages, file_size)
    file.seek(head.tell())
    arrays = {}
    for key in keys:
        storage = interpreter.storages[_require(key, str)]
        count = int.from_bytes(file.read(8), "little")
        content = file.read(storage.size)
        if count != storage.num_elements or len(content) != storage.size:
            raise ValueError(f"a storage of {storage.num_elements} numbers has {count} in the file")
        arrays[key] = np.frombuffer(content, storage.dtype)
    return _to_arrays(state, arrays)


def _check_sizes(storages: dict[str, Storage], file_size: int) -> None:
    """Checks, before memory is allocated, that all storages fit into the file."""
    size = sum(storage.size for storage in storages.values())
    if size > file_size:
        raise ValueError(f"its storages of {size} bytes are larger than the file")


def _to_arrays(state: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts a dictionary of tensors."""
    result = {}
    for name, (storage, offset, shape) in _tensors(state):
        array = arrays[storage.key][offset : offset + math.prod(shape)]
        result[name] = array.reshape(shape)  # a view
    return result


def _tensors(state: Any) -> list[tuple[str, Tensor]]:
    return [(str(name), _require(x, Tensor)) for name, x in _require(state, dict).items()]
