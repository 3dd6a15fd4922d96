"""A SavedModel, loaded and run through the C API."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .library import Output, Status, content, load, tensorflow_text_libraries
from .wire import string, values

# TF_DataType to NumPy; strings are `object`.
TYPES = {1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 7: "O", 9: "i8", 10: "?", 19: "f2"}
STRING = 7
TSTRING = 24  # bytes of a TF_TString


class Tensor(NamedTuple):
    """An input or output of a signature: its name in the graph, its dtype, and its shape.

    `None` in the shape is free; `None` in its place is any shape.
    """

    name: str
    dtype: int
    shape: tuple[int | None, ...] | None


class Signature(NamedTuple):
    """Inputs and outputs by their names, and what an input is that is not given."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    defaults: dict[str, list[float]]


class Session:
    """A version of a SavedModel, loaded by `TF_LoadSessionFromSavedModel` with the tag `serve`.

    Attributes:
        signatures: what can be run.
        operations: names of the operations in the graph that are not TensorFlow's own.

    Args:
        version: the folder with `saved_model.pb`.
        libraries: files of operations to load first; None loads tensorflow-text's.

    Raises:
        ValueError: if the folder holds no SavedModel, or one with operations that are not there.

    Example: `Session("serving/dates/1").run("serving_default", {"text": ["march 3, 1998"]})`
    """

    def __init__(self, version: str | Path, libraries: Sequence[str | Path] | None = None):
        self._library, self._session = load(), None
        added = {
            name
            for path in (tensorflow_text_libraries() if libraries is None else libraries)
            for name in self._add_operations(path)
        }
        self._graph = self._library.TF_NewGraph()
        meta_graph = self._open(version)
        (info,) = values(meta_graph, 1)
        used = {string(op, 1) for found in values(info, 2) for op in values(found, 1)}
        self.operations = sorted(used & added)
        self.signatures = dict(_signature(entry) for entry in values(meta_graph, 5))
        self.signatures.pop("__saved_model_init_op", None)

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: arrays or lists by name; strings may be `str` or `bytes`. Those that have a
                default may be left out.

        Returns:
            Arrays by name; strings are arrays of `bytes`.

        Raises:
            ValueError: if there is no such signature, the inputs are not its own, or it fails.
        """
        if signature not in self.signatures:
            raise ValueError(
                f"signature: expected one of {sorted(self.signatures)}. "
                f"Received: signature={signature!r}"
            )
        expected, given = self.signatures[signature], {}
        inputs = {**expected.defaults, **inputs}
        if set(inputs) != set(expected.inputs):
            raise ValueError(
                f"inputs: expected {sorted(expected.inputs)}. Received: {sorted(inputs)}"
            )
        try:
            for name, tensor in expected.inputs.items():
                given[name] = self._tensor(_array(name, inputs[name], tensor), tensor.dtype)
            return self._run(expected, given)
        finally:
            for tensor in given.values():
                self._free(tensor)

    def close(self) -> None:
        """Gives back the model's memory; nothing can be run afterward."""
        session, self._session = self._session, None
        if session:
            with Status(self._library) as status:
                self._library.TF_DeleteSession(session, status)
            self._library.TF_DeleteGraph(self._graph)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _add_operations(self, path) -> list[str]:
        """Loads a library of operations, and returns their names."""
        with Status(self._library) as status:
            handle = self._library.TF_LoadLibrary(os.fsencode(path), status)
        listed = self._library.TF_GetOpList(handle)
        return [string(op, 1) for op in values(content(listed), 1)]

    def _open(self, version) -> memoryview:
        """Loads the session, and returns the MetaGraphDef."""
        tf = self._library
        options, found = tf.TF_NewSessionOptions(), tf.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        try:
            with Status(tf) as status:
                self._session = tf.TF_LoadSessionFromSavedModel(
                    options, None, os.fsencode(version), tags, 1, self._graph, found, status
                )
            return content(found.contents)
        except ValueError as error:
            tf.TF_DeleteGraph(self._graph)
            raise ValueError(
                "version: expected a SavedModel of operations that are there. "
                f"Received: version={str(version)!r}, {error}"
            ) from None
        finally:
            tf.TF_DeleteBuffer(found)
            tf.TF_DeleteSessionOptions(options)

    def _run(self, signature, given) -> dict[str, np.ndarray]:
        tf = self._library
        feeds = [self._place(tensor) for tensor in signature.inputs.values()]
        fetches = [self._place(tensor) for tensor in signature.outputs.values()]
        inputs = (ctypes.c_void_p * len(given))(*given.values())
        results = (ctypes.c_void_p * len(fetches))()
        with Status(tf) as status:
            tf.TF_SessionRun(
                self._session, None,
                (Output * len(feeds))(*feeds), inputs, len(feeds),
                (Output * len(fetches))(*fetches), results, len(fetches),
                None, 0, None, status,
            )  # fmt: skip
        try:
            # Read before inputs are freed: an output may be an input, passed on.
            found = map(self._read, results)
            return dict(zip(signature.outputs, found, strict=True))
        finally:
            for tensor in results:
                tf.TF_DeleteTensor(tensor)

    def _place(self, tensor) -> "Output":
        operation, _, index = tensor.name.rpartition(":")
        return Output(
            self._library.TF_GraphOperationByName(self._graph, operation.encode()), int(index)
        )

    def _tensor(self, array, dtype) -> int:
        """A new TF_Tensor, which `_free` gives back."""
        tf, size = self._library, array.size * (TSTRING if dtype == STRING else array.itemsize)
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = tf.TF_AllocateTensor(dtype, dims, array.ndim, size)
        place = tf.TF_TensorData(tensor)
        if dtype != STRING:
            ctypes.memmove(place, array.ctypes.data, size)
            return tensor
        for number, text in enumerate(array.ravel()):
            text = text.encode() if isinstance(text, str) else text
            tf.TF_StringInit(place + number * TSTRING)
            tf.TF_StringCopy(place + number * TSTRING, text, len(text))
        return tensor

    def _free(self, tensor) -> None:
        """Strings that were copied in are not the tensor's, which would leave them."""
        tf = self._library
        if tf.TF_TensorType(tensor) == STRING:
            for number in range(tf.TF_TensorElementCount(tensor)):
                tf.TF_StringDealloc(tf.TF_TensorData(tensor) + number * TSTRING)
        tf.TF_DeleteTensor(tensor)

    def _read(self, tensor) -> np.ndarray:
        tf = self._library
        shape = [tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))]
        dtype, place = tf.TF_TensorType(tensor), tf.TF_TensorData(tensor)
        if dtype not in TYPES:
            raise ValueError(f"Expected outputs of dtypes {sorted(TYPES)}. Received: {dtype}")
        if dtype != STRING:
            data = ctypes.string_at(place, tf.TF_TensorByteSize(tensor))
            return np.frombuffer(data, TYPES[dtype]).reshape(shape)
        array = np.empty(tf.TF_TensorElementCount(tensor), object)
        for number in range(array.size):
            text = place + number * TSTRING
            array[number] = ctypes.string_at(
                tf.TF_StringGetDataPointer(text), tf.TF_StringGetSize(text)
            )
        return array.reshape(shape)


def _array(name: str, given: Any, tensor: Tensor) -> np.ndarray:
    """What was given for an input, as the signature wants it."""
    if tensor.dtype == STRING:
        array = np.array(given, object)
        fits = all(isinstance(text, str | bytes) for text in array.ravel())
    else:
        array = np.asarray(given)
        fits = array.dtype.kind in "biuf"
        if fits:
            cast = np.ascontiguousarray(array, TYPES[tensor.dtype]).reshape(array.shape)
            fits = cast.dtype.kind == "f" or np.array_equal(cast, array)
    shape = tensor.shape
    if shape is not None:
        fits = fits and len(shape) == array.ndim
        fits = fits and all(a in (None, b) for a, b in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = "strings" if tensor.dtype == STRING else np.dtype(TYPES[tensor.dtype]).name
        raise ValueError(
            f"{name}: expected {wanted} of shape {shape}. "
            f"Received: {array.dtype} of shape {array.shape}, {repr(given)[:80]}"
        )
    return array if tensor.dtype == STRING else cast


def _signature(entry: memoryview) -> tuple[str, Signature]:
    """From an entry of `MetaGraphDef.signature_def`."""
    (definition,) = values(entry, 2)
    sides = [dict(map(_tensor_info, values(definition, side))) for side in (1, 2)]
    defaults = dict(map(_default, values(definition, 4)))
    return string(entry, 1), Signature(*sides, defaults)


def _default(entry: memoryview) -> tuple[str, list[float]]:
    """From an entry of `SignatureDef.defaults`, numbers in `TensorProto.tensor_content`."""
    (tensor,) = values(entry, 2)
    (dtype,), (content,) = values(tensor, 1), values(tensor, 4)
    return string(entry, 1), np.frombuffer(content, TYPES[dtype]).tolist()


def _tensor_info(entry: memoryview) -> tuple[str, Tensor]:
    """From an entry of `SignatureDef.inputs` or `outputs`."""
    (info,) = values(entry, 2)
    dtype = next(iter(values(info, 2)), 0)
    (shape,) = values(info, 3) or [b""]
    sizes = [next(iter(values(dim, 1)), 0) for dim in values(shape, 2)]
    free = any(values(shape, 3))
    dims = tuple(None if size >= 2**63 else size for size in sizes)  # -1 in 64 bits is free
    return string(entry, 1), Tensor(string(info, 1), dtype, None if free else dims)
