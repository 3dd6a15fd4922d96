"""Requests and responses of TensorFlow Serving's REST API.

The formats are described at https://www.tensorflow.org/tfx/serving/api_rest.
"""

import base64
import binascii
import json
from typing import Any, NamedTuple

import numpy as np

from keras_attention.export.saved_model.c_api import STRING, Signature
from keras_attention.serving.errors import RequestError

# Names of `TF_DataType`s in `DataType` of types.proto.
DTYPE_NAMES = {
    1: "DT_FLOAT", 2: "DT_DOUBLE", 3: "DT_INT32", 4: "DT_UINT8", 5: "DT_INT16", 6: "DT_INT8",
    7: "DT_STRING", 9: "DT_INT64", 10: "DT_BOOL", 19: "DT_HALF",
}  # fmt: skip
BOOL = 10
DEFAULT_SIGNATURE = "serving_default"


class PredictRequest(NamedTuple):
    """A parsed request.

    Attributes:
        signature: name of the signature.
        inputs: nested lists by name of the input, batched; strings are `str` or `bytes`.
        has_rows: whether the request has `instances`, a list of rows, and not `inputs`.
    """

    signature: str
    inputs: dict[str, Any]
    has_rows: bool


def parse_predict_request(body: bytes, signatures: dict[str, Signature]) -> PredictRequest:
    """Parses the body of a `predict` request.

    Args:
        body: JSON with `instances`, a list of rows, or with `inputs`, a batch for each input, and
            optionally `signature_name`.
        signatures: the signatures of the model.

    Raises:
        RequestError: If the body is not such JSON or does not match the signature.
    """
    content = _parse_json(body)
    name = content.get("signature_name", "") or DEFAULT_SIGNATURE
    if not isinstance(name, str):
        raise RequestError(400, "'signature_name' key must be a string value.")
    if name not in signatures:
        raise RequestError(400, f'Serving signature name: "{name}" not found in signature def')
    signature = signatures[name]
    if ("instances" in content) == ("inputs" in content):
        if "inputs" not in content:
            raise RequestError(400, "Missing 'inputs' or 'instances' key")
        raise RequestError(400, "Expecting only one of 'inputs' or 'instances' keys to exist")
    has_rows = "instances" in content
    inputs = (
        _inputs_of_rows(content["instances"], signature)
        if has_rows
        else _inputs_of_columns(content["inputs"], signature)
    )
    try:
        decoded = {key: _decode(x, signature.inputs[key].dtype) for key, x in inputs.items()}
    except RecursionError:
        raise RequestError(400, "Encountered lists that are nested too deeply") from None
    return PredictRequest(name, decoded, has_rows)


def format_outputs(outputs: dict[str, np.ndarray], has_rows: bool) -> str:
    """Returns the body of a response: `predictions` for rows, `outputs` for columns.

    A signature with one output has its values in place of a dictionary. Strings of an output whose
    name ends with `_bytes` are encoded in base64.

    Raises:
        RequestError: If rows are wanted and the outputs differ in their first dimension.
    """
    columns = {name: _to_json(outputs[name], name.endswith("_bytes")) for name in sorted(outputs)}
    if not has_rows:
        (first, *others) = columns.values()
        return json.dumps({"outputs": columns if others else first})
    if len({array.shape[:1] for array in outputs.values()}) > 1 or any(
        not array.ndim for array in outputs.values()
    ):
        raise RequestError(400, "Tensors of the outputs have inconsistent batch sizes")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if len(columns) == 1:
        return json.dumps({"predictions": [value for row in rows for value in row.values()]})
    return json.dumps({"predictions": rows})


def describe_signatures(model: str, version: int, signatures: dict[str, Signature]) -> str:
    """Returns the body of a response to `GET /v1/models/MODEL/metadata`."""

    def describe(tensors):
        return {
            name: {
                "dtype": DTYPE_NAMES.get(tensor.dtype, "DT_INVALID"),
                "tensor_shape": {
                    "dim": [
                        {"size": str(-1 if size is None else size), "name": ""}
                        for size in tensor.shape or ()
                    ],
                    "unknown_rank": tensor.shape is None,
                },
                "name": tensor.name,
            }
            for name, tensor in sorted(tensors.items())
        }

    definitions = {
        name: {
            "inputs": describe(signature.inputs),
            "outputs": describe(signature.outputs),
            "method_name": "tensorflow/serving/predict",
        }
        for name, signature in sorted(signatures.items())
    }
    spec = {"name": model, "signature_name": "", "version": str(version)}
    metadata = {"signature_def": {"signature_def": definitions}}
    return json.dumps({"model_spec": spec, "metadata": metadata}, indent=1)


def _parse_json(body: bytes) -> dict:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"JSON Parse error: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(400, f"JSON Value: {repr(content)[:80]} Is not object")
    return content


def _inputs_of_rows(rows: Any, signature: Signature) -> dict[str, list]:
    if not isinstance(rows, list):
        raise RequestError(400, "Expecting 'instances' to be an list/array")
    if not rows:
        raise RequestError(400, "No values in 'instances' array")
    has_names = isinstance(rows[0], dict) and not _is_base64(rows[0])
    if not has_names:
        return {_only_input(signature, "instances"): rows}
    names = set(rows[0])
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or _is_base64(row):
            raise RequestError(400, f"Expecting object but got list at item {index} of input list")
        if set(row) != names:
            raise RequestError(
                400,
                f"Failed to process element: {index} of 'instances' list. JSON object: keys must "
                f"be equal to: {','.join(sorted(names))}",
            )
    _check_names(names, signature, "'instances' list")
    return {name: [row[name] for row in rows] for name in names}


def _inputs_of_columns(columns: Any, signature: Signature) -> dict[str, Any]:
    if not isinstance(columns, dict) or _is_base64(columns):
        return {_only_input(signature, "inputs"): columns}
    _check_names(set(columns), signature, "'inputs' object")
    return columns


def _only_input(signature: Signature, key: str) -> str:
    required = signature.inputs.keys() - signature.defaults.keys()
    if len(required) != 1:
        names = ", ".join(sorted(required))
        raise RequestError(
            400, f"{key} is a plain list, but expecting objects with the named inputs: {names}"
        )
    return next(iter(required))


def _check_names(names: set[str], signature: Signature, where: str) -> None:
    for name in sorted(names - signature.inputs.keys()):
        raise RequestError(400, f"JSON object: does not have named input: {name}")
    for name in sorted(signature.inputs.keys() - signature.defaults.keys() - names):
        raise RequestError(400, f"Missing named input: {name} in {where}.")


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _decode(value: Any, dtype: int) -> Any:
    """Decodes base64 in nested lists, and checks that the values have the JSON type of a dtype."""
    if isinstance(value, list):
        return [_decode(item, dtype) for item in value]
    if dtype == STRING:
        if _is_base64(value):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except binascii.Error:
                raise RequestError(400, "Unable to base64 decode") from None
        is_valid = isinstance(value, str)
    elif dtype == BOOL:
        is_valid = isinstance(value, bool)
    else:
        is_valid = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_valid:
        raise RequestError(
            400,
            f"JSON Value: {repr(value)[:80]} Type: {_json_type(value)} is not of expected type: "
            f"{DTYPE_NAMES[dtype].removeprefix('DT_').lower()}",
        )
    return value


def _json_type(value: Any) -> str:
    names = {type(None): "Null", bool: str(value), dict: "Object", str: "String"}
    return names.get(type(value), "Number")


def _to_json(array: np.ndarray, as_base64: bool) -> Any:
    """Converts an array to nested lists."""
    if array.dtype == object:

        def convert(text):
            if as_base64:
                return {"b64": base64.b64encode(text).decode("ascii")}
            return text.decode("utf-8", "replace")

        flat = np.empty(array.size, object)
        flat[:] = [convert(text) for text in array.ravel()]
        return flat.reshape(array.shape).tolist()
    if array.dtype.kind == "f":  # as few digits as its precision needs
        array = array.astype("U").astype("float64")
    return array.tolist()
