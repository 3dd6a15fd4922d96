"""A session of TensorFlow's C API that runs the signatures of a SavedModel."""

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .library import Output, Status, copy_buffer, load_library, tensorflow_text_libraries
from .wire import field_values, string_value

# TF_DataType to NumPy's dtype; strings are `object`.
DTYPES = {1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 7: "O", 9: "i8", 10: "?", 19: "f2"}
STRING = 7
TSTRING_SIZE = 24  # bytes of a TF_TString


class Tensor(NamedTuple):
    """An input or output of a signature.

    Attributes:
        name: name of the tensor in the graph.
        dtype: a `TF_DataType`.
        shape: sizes, `None` for a free dimension; `None` if the rank is free.
    """

    name: str
    dtype: int
    shape: tuple[int | None, ...] | None


class Signature(NamedTuple):
    """Inputs and outputs of a signature by name, and the defaults of optional inputs."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    defaults: dict[str, list[float]]


class Session:
    """A SavedModel loaded with `TF_LoadSessionFromSavedModel` and the tag `serve`.

    Several threads may call `run` at the same time.

    Args:
        version: folder that contains `saved_model.pb`.
        libraries: libraries of custom operations to load first. Defaults to those of
            tensorflow-text.

    Attributes:
        signatures: the SavedModel's signatures by name.
        operations: names of the operations in the graph that come from `libraries`.

    Raises:
        ValueError: If the folder contains no SavedModel, or one with unknown operations or
            signatures that cannot be read.

    Example: `Session("serving/dates/1").run("serving_default", {"text": ["march 3, 1998"]})`
    """

    def __init__(self, version: str | Path, libraries: Sequence[str | Path] | None = None):
        self._library, self._session = load_library(), None
        self._lock = threading.RLock()  # of the next two
        self._is_closed, self._num_runs = False, 0
        custom_operations = {
            name
            for path in (tensorflow_text_libraries() if libraries is None else libraries)
            for name in self._load_operations(path)
        }
        self._graph = self._library.TF_NewGraph()
        meta_graph = self._load_saved_model(version)
        try:
            (info,) = field_values(meta_graph, 1)  # MetaGraphDef.meta_info_def
            operations = {
                string_value(operation, 1)  # OpDef.name
                for op_list in field_values(info, 2)  # MetaInfoDef.stripped_op_list
                for operation in field_values(op_list, 1)
            }
            self.operations = sorted(operations & custom_operations)
            # MetaGraphDef.signature_def
            self.signatures = dict(_parse_signature(entry) for entry in field_values(meta_graph, 5))
        except (ValueError, KeyError, TypeError) as error:
            self.close()
            raise ValueError(
                "`version` must be a SavedModel whose signatures can be read. "
                f"Received: version={str(version)!r} ({type(error).__name__}: {error})"
            ) from None
        self.signatures.pop("__saved_model_init_op", None)

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: name of the signature.
            inputs: arrays or lists by name; strings may be `str` or `bytes`. Inputs that have a
                default may be omitted.

        Returns:
            The outputs by name; strings are arrays of `bytes`.

        Raises:
            ValueError: If there is no such signature, the inputs do not match it, running it
                fails, or the session is closed.
        """
        with self._lock:
            if self._is_closed:
                raise ValueError("`run` needs an open session. Received: a session that was closed")
            self._num_runs += 1
        try:
            return self._run_signature(signature, inputs)
        finally:
            with self._lock:
                self._num_runs -= 1
                self._free_if_unused()

    def _run_signature(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        if signature not in self.signatures:
            raise ValueError(
                f"`signature` must be one of {sorted(self.signatures)}. "
                f"Received: signature={signature!r}"
            )
        definition = self.signatures[signature]
        feeds = [self._graph_output(spec) for spec in definition.inputs.values()]
        fetches = [self._graph_output(spec) for spec in definition.outputs.values()]
        inputs = {**definition.defaults, **inputs}
        if set(inputs) != set(definition.inputs):
            raise ValueError(
                f"`inputs` must have the keys {sorted(definition.inputs)}. "
                f"Received: {sorted(inputs)}"
            )
        tensors: dict[str, int] = {}
        try:
            for name, spec in definition.inputs.items():
                array = _to_array(name, inputs[name], spec)
                tensors[name] = self._new_tensor(array, spec.dtype)
            results = self._run(feeds, list(tensors.values()), fetches)
            return dict(zip(definition.outputs, results, strict=True))
        finally:
            for tensor in tensors.values():
                self._delete_tensor(tensor)

    def close(self) -> None:
        """Frees the model's memory, once all calls of `run` in other threads have returned.

        Later calls of `run` raise a `ValueError`.
        """
        with self._lock:
            self._is_closed = True
            self._free_if_unused()

    def _free_if_unused(self) -> None:
        if self._is_closed and not self._num_runs and self._session:
            session, self._session = self._session, None
            with Status(self._library) as status:
                self._library.TF_DeleteSession(session, status)
            self._library.TF_DeleteGraph(self._graph)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _load_operations(self, path: str | Path) -> list[str]:
        """Loads a library of operations and returns their names."""
        with Status(self._library) as status:
            handle = self._library.TF_LoadLibrary(os.fsencode(path), status)
        op_list = copy_buffer(self._library.TF_GetOpList(handle))
        return [string_value(operation, 1) for operation in field_values(op_list, 1)]

    def _load_saved_model(self, version: str | Path) -> memoryview:
        """Loads the session and returns the serialized `MetaGraphDef`."""
        tf = self._library
        options, meta_graph = tf.TF_NewSessionOptions(), tf.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        try:
            with Status(tf) as status:
                self._session = tf.TF_LoadSessionFromSavedModel(
                    options, None, os.fsencode(version), tags, 1, self._graph, meta_graph, status
                )
            return copy_buffer(meta_graph.contents)
        except ValueError as error:
            tf.TF_DeleteGraph(self._graph)
            raise ValueError(
                "`version` must be the folder of a SavedModel whose operations are loaded. "
                f"Received: version={str(version)!r}, {error}"
            ) from None
        finally:
            tf.TF_DeleteBuffer(meta_graph)
            tf.TF_DeleteSessionOptions(options)

    def _run(
        self, feeds: list[Output], tensors: list[int], fetches: list[Output]
    ) -> list[np.ndarray]:
        tf = self._library
        inputs = (ctypes.c_void_p * len(tensors))(*tensors)
        results = (ctypes.c_void_p * len(fetches))()
        with Status(tf) as status:
            tf.TF_SessionRun(
                self._session, None,
                (Output * len(feeds))(*feeds), inputs, len(feeds),
                (Output * len(fetches))(*fetches), results, len(fetches),
                None, 0, None, status,
            )  # fmt: skip
        try:
            # Read before the inputs are freed: an output may share an input's memory.
            return list(map(self._read_tensor, results))
        finally:
            for tensor in results:
                tf.TF_DeleteTensor(tensor)

    def _graph_output(self, spec: Tensor) -> Output:
        """Returns the tensor in the graph; TensorFlow crashes at one that does not exist."""
        name, _, index = spec.name.rpartition(":")
        operation = self._library.TF_GraphOperationByName(self._graph, name.encode())
        is_number = index.isascii() and index.isdecimal() and len(index) < 10
        count = self._library.TF_OperationNumOutputs(operation) if operation else 0
        if not is_number or int(index) >= count:
            raise ValueError(
                "A signature must name tensors of the graph, such as 'name:0'. "
                f"Received: {spec.name!r}"
            )
        return Output(operation, int(index))

    def _new_tensor(self, array: np.ndarray, dtype: int) -> int:
        """Returns a new `TF_Tensor`, to be freed by `_delete_tensor`."""
        tf, itemsize = self._library, TSTRING_SIZE if dtype == STRING else array.itemsize
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = tf.TF_AllocateTensor(dtype, dims, array.ndim, array.size * itemsize)
        address = tf.TF_TensorData(tensor)
        if dtype != STRING:
            ctypes.memmove(address, array.ctypes.data, array.size * itemsize)
            return tensor
        for index, text in enumerate(array.ravel()):
            text = text.encode() if isinstance(text, str) else text
            tf.TF_StringInit(address + index * TSTRING_SIZE)
            tf.TF_StringCopy(address + index * TSTRING_SIZE, text, len(text))
        return tensor

    def _delete_tensor(self, tensor: int) -> None:
        """Frees a tensor and its strings, which `TF_DeleteTensor` alone would leak."""
        tf = self._library
        if tf.TF_TensorType(tensor) == STRING:
            for index in range(tf.TF_TensorElementCount(tensor)):
                tf.TF_StringDealloc(tf.TF_TensorData(tensor) + index * TSTRING_SIZE)
        tf.TF_DeleteTensor(tensor)

    def _read_tensor(self, tensor: int) -> np.ndarray:
        tf = self._library
        shape = [tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))]
        dtype, address = tf.TF_TensorType(tensor), tf.TF_TensorData(tensor)
        if dtype not in DTYPES:
            raise ValueError(f"Outputs must have a dtype of {sorted(DTYPES)}. Received: {dtype}")
        if dtype != STRING:
            data = ctypes.string_at(address, tf.TF_TensorByteSize(tensor))
            return np.frombuffer(data, DTYPES[dtype]).reshape(shape)
        array = np.empty(tf.TF_TensorElementCount(tensor), object)
        for index in range(array.size):
            text = address + index * TSTRING_SIZE
            array[index] = ctypes.string_at(
                tf.TF_StringGetDataPointer(text), tf.TF_StringGetSize(text)
            )
        return array.reshape(shape)


def _to_array(name: str, value: Any, spec: Tensor) -> np.ndarray:
    """Converts an input to the signature's dtype, or raises if dtype or shape do not match."""
    if spec.dtype not in DTYPES:
        raise ValueError(
            f"`{name}` must have a dtype of {sorted(DTYPES)}. Received: dtype={spec.dtype}"
        )
    if spec.dtype == STRING:
        array = converted = np.array(value, object)
        matches = all(isinstance(text, str | bytes) for text in array.ravel())
    else:
        array = converted = np.asarray(value)
        matches = array.dtype.kind in "biuf"
        if matches:
            converted = np.ascontiguousarray(array, DTYPES[spec.dtype]).reshape(array.shape)
            matches = converted.dtype.kind == "f" or np.array_equal(converted, array)
    if spec.shape is not None:
        matches = matches and len(spec.shape) == array.ndim
        matches = matches and all(
            size in (None, actual) for size, actual in zip(spec.shape, array.shape, strict=True)
        )
    if not matches:
        dtype = "strings" if spec.dtype == STRING else np.dtype(DTYPES[spec.dtype]).name
        raise ValueError(
            f"`{name}` must be {dtype} of shape {spec.shape}. "
            f"Received: {array.dtype} of shape {array.shape}, {repr(value)[:80]}"
        )
    return converted


def _parse_signature(entry: memoryview) -> tuple[str, Signature]:
    """Parses an entry of `MetaGraphDef.signature_def`."""
    (definition,) = field_values(entry, 2)
    inputs, outputs = (
        dict(map(_parse_tensor_info, field_values(definition, number))) for number in (1, 2)
    )
    defaults = dict(map(_parse_default, field_values(definition, 4)))
    return string_value(entry, 1), Signature(inputs, outputs, defaults)


def _parse_default(entry: memoryview) -> tuple[str, list[float]]:
    """Parses an entry of `SignatureDef.defaults` with numbers in `TensorProto.tensor_content`."""
    (tensor,) = field_values(entry, 2)
    (dtype,), (content,) = field_values(tensor, 1), field_values(tensor, 4)
    return string_value(entry, 1), np.frombuffer(content, DTYPES[dtype]).tolist()


def _parse_tensor_info(entry: memoryview) -> tuple[str, Tensor]:
    """Parses an entry of `SignatureDef.inputs` or `SignatureDef.outputs`."""
    (info,) = field_values(entry, 2)
    dtype = next(iter(field_values(info, 2)), 0)
    (shape,) = field_values(info, 3) or [b""]
    sizes = [next(iter(field_values(dim, 1)), 0) for dim in field_values(shape, 2)]
    unknown_rank = any(field_values(shape, 3))
    dims = tuple(None if size >= 2**63 else size for size in sizes)  # -1 as uint64 is free
    return string_value(entry, 1), Tensor(
        string_value(info, 1), dtype, None if unknown_rank else dims
    )
