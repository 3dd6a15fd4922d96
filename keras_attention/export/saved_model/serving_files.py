"""Files for TF Serving next to a version: warm-up requests, configurations and `serving.md`."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from keras_attention.export.saved_model.c_api.wire import encode_field, field_values, string_value
from keras_attention.export.saved_model.verify import Verification
from keras_attention.export.signatures import Exportable
from keras_attention.export.verification.samples import to_json

MAX_EXAMPLE_LENGTH = 2000  # characters of a request or response in `serving.md`
BATCHING_CONFIG = """\
# TF Serving's batching parameters, used with --enable_batching: requests that arrive within
# 2 milliseconds are merged into batches of at most 32 rows, and a request of more rows, up to
# 1024, is split. You may edit this file; an export does not overwrite it.
# All parameters: tensorflow_serving/batching/README.md in the repository tensorflow/serving.
# Do not set pad_variable_length_inputs: it pads ids with the first id of a row in place of 0.
max_batch_size { value: 1024 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 4 }
"""
MODEL_CONFIG = """\
# TF Serving's model configuration, used with --model_config_file: the latest version is served.
# You may edit this file; an export does not overwrite it.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""
PAGE = """\
# Serving {name}

This folder is the base path of the model `{name}` for TF Serving.
The export wrote this page, and the next export overwrites it.

## Start the server

Run this in this folder:

```bash
docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD:/models/{name}:ro" -e MODEL_NAME={name} tensorflow/serving
```

To merge simultaneous requests into batches with the parameters in `batching.config`, run this
instead:

```bash
docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD:/models/{name}:ro" tensorflow/serving \\
    --model_config_file=/models/{name}/model.config \\
    --enable_batching --batching_parameters_file=/models/{name}/batching.config
```

## Send a request

The server answers REST requests on port 8501 and gRPC requests on port 8500:

```bash
{command}
```

This is the response that was computed when this version was verified:

```json
{response}
```

## Signatures

{signatures}

To use a signature other than `serving_default`, name it in the request, for example
`"signature_name": "{other}"`.
{batching_note}
## Operations

{operations}

The model was written by TensorFlow {tensorflow}. TF Serving 2.18 or later can serve it.
"""  # noqa: E501
CORE_OPERATIONS = """\
The graph contains only TensorFlow's core operations, which every build of TF Serving can run."""
TEXT_OPERATIONS = """\
The graph contains these operations of tensorflow-text:

{names}

The official model server links them (`SUPPORTED_TENSORFLOW_OPS` in its `model_servers/BUILD`). For
a server without them, export again with `tokenizer=False`. Clients then send and receive ids."""
BATCHING_NOTE = """
With batching, the server merges requests only if the shapes of their inputs are equal except for
the first dimension. Requests with `source` must be padded to one length.
"""


def model_name(folder: Path) -> str:
    """Returns the name of a base path, with characters that are safe in URLs and shells."""
    return re.sub(r"[^\w.-]", "_", folder.name, flags=re.ASCII)


def write_files(
    exportable: Exportable,
    version: Path,
    name: str,
    samples: list,
    outputs: dict[str, dict],
    verified: Verification,
) -> None:
    """Writes warm-up requests into a version, and the configurations and `serving.md` next to it.

    Args:
        exportable: the export's signatures and preprocessing.
        version: folder of the version.
        name: name of the model.
        samples: the batch for the warm-up requests, whose first request is the example.
        outputs: outputs of the SavedModel for it, by signature.
        verified: signatures and operations of the SavedModel.
    """
    batch = exportable.encode(samples)
    requests = {
        signature.name: exportable.inputs(signature, samples, batch)
        for signature in exportable.signatures
    }
    warmup = version / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        for signature, inputs in requests.items():
            writer.write(prediction_log(name, signature, inputs))
    base_files = version.parent  # moved into the base path together with the version
    (base_files / "batching.config").write_text(BATCHING_CONFIG, encoding="utf-8")
    (base_files / "model.config").write_text(MODEL_CONFIG.format(name=name), encoding="utf-8")
    page = _page(exportable, name, requests, outputs, verified)
    (base_files / "serving.md").write_text(page, encoding="utf-8")


def prediction_log(name: str, signature: str, inputs: dict[str, Any]) -> bytes:
    """Returns a serialized `PredictionLog` with a request, as TF Serving's warm-up file has it.

    The message class is in tensorflow-serving-api, which is not needed here.

    Args:
        name: name of the model.
        signature: name of the signature.
        inputs: inputs of the signature by name.
    """
    model_spec = encode_field(1, name) + encode_field(3, signature)
    request = encode_field(1, model_spec)  # PredictRequest
    for input_name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += encode_field(2, encode_field(1, input_name) + encode_field(2, tensor))
    predict_log = encode_field(1, request)
    return encode_field(6, predict_log)


def read_warmup_requests(version: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the signature and inputs of each request that `prediction_log` wrote into a version.

    Args:
        version: folder of the version. It may have no warm-up requests.
    """
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    if not path.is_file():
        return
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        (predict_log,) = field_values(memoryview(record), 6)
        (request,) = field_values(predict_log, 1)
        (model_spec,) = field_values(request, 1)
        inputs = {}
        for entry in field_values(request, 2):
            (tensor,) = field_values(entry, 2)
            inputs[string_value(entry, 1)] = tf.make_ndarray(TensorProto.FromString(bytes(tensor)))
        yield string_value(model_spec, 3), inputs


def _page(
    exportable: Exportable,
    name: str,
    requests: dict[str, dict],
    outputs: dict[str, dict],
    verified: Verification,
) -> str:
    """Returns the text of `serving.md`."""
    first, *_ = requests
    *_, last = requests
    (input_name, rows), *_ = requests[first].items()
    response = {"outputs": outputs[first]}
    has_free_length = any(
        None in signature.input_spec["source"].shape[1:]
        for signature in exportable.signatures
        if "source" in signature.input_spec
    )
    operations = CORE_OPERATIONS
    if verified.operations:
        names = "\n".join(f"- `{operation}`" for operation in verified.operations)
        operations = TEXT_OPERATIONS.format(names=names)
    return PAGE.format(
        name=name,
        command=curl_command(name, first, input_name, rows),
        response=_abbreviate(json.dumps(response, ensure_ascii=False, default=to_json)),
        signatures=_signature_table(verified.signatures, requests),
        other=last,
        batching_note=BATCHING_NOTE if has_free_length else "",
        operations=operations,
        tensorflow=tf.__version__,
    )


def curl_command(name: str, signature: str, input_name: str, rows: Any) -> str:
    """Returns a shell command that sends a request to TF Serving's REST API.

    Args:
        name: name of the model.
        signature: name of the signature.
        input_name: name of its input.
        rows: a batch for this input. The bytes of images are replaced by those of `photo.jpg`.
    """
    url = f"localhost:8501/v1/models/{name}:predict"
    if input_name == "image_bytes":
        start, end = '{"inputs": {"image_bytes": [{"b64": "', '"}]}}'
        return (
            f"(printf '{start}'; base64 < photo.jpg | tr -d '\\n'; printf '{end}') |\n"
            f"    curl -d @- {url}"
        )
    request: dict[str, Any] = {"inputs": {input_name: rows}}
    if signature != "serving_default":
        request["signature_name"] = signature
    body = json.dumps(request, ensure_ascii=False, default=to_json)
    if len(body) > MAX_EXAMPLE_LENGTH:  # pixels
        return f"# request.json: {_abbreviate(body)}\ncurl -d @request.json {url}"
    return f"curl -d {shlex.quote(body)} {url}"


def _abbreviate(text: str) -> str:
    return text if len(text) <= MAX_EXAMPLE_LENGTH else f"{text[:80]} ... {text[-20:]}"


def _signature_table(signatures: dict, names: Iterable[str]) -> str:
    """Returns a Markdown table of the inputs and outputs of signatures."""
    rows = ["| signature | inputs | outputs |", "| --- | --- | --- |"]
    for name in names:
        inputs, outputs, defaults = signatures[name]
        rows.append(f"| `{name}` | {_tensors(inputs, defaults)} | {_tensors(outputs)} |")
    return "\n".join(rows)


def _tensors(tensors: dict, defaults: dict | None = None) -> str:
    """Returns names, dtypes, shapes and defaults of tensors, the required ones first."""
    defaults = defaults or {}
    return ", ".join(
        f"`{name}` {tf.as_dtype(dtype).name} {_shape(shape)}"
        + (f", default {defaults[name][0]:g}" if name in defaults else "")
        for name, (_, dtype, shape) in sorted(
            tensors.items(), key=lambda item: (item[0] in defaults, item[0])
        )
    )


def _shape(shape: Sequence) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({', '.join(['batch', *sizes[1:]])})"
