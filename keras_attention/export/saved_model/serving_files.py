"""Files for TF Serving next to a version: warm-up requests, configurations and `serving.md`."""

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_attention.export.saved_model.c_api.wire import encode_field
from keras_attention.export.saved_model.verify import Verification
from keras_attention.export.signatures import Exportable
from keras_attention.export.verification.samples import to_json

LONGEST = 2000  # characters of a request or response in `serving.md`
BATCHING = """\
# TF Serving's batching parameters, used with --enable_batching: requests that arrive within
# 2 milliseconds are merged into one batch. You may edit this file; an export does not overwrite it.
# All parameters: tensorflow_serving/batching/README.md in the repository tensorflow/serving.
max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 4 }
"""
MODELS = """\
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

This folder is the base path of the model `{name}` for TF Serving. The export wrote this page, and
the next export overwrites it.

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
{curl}
```

This is the response that was computed when this version was verified:

```json
{answer}
```

## Signatures

{signatures}

To use a signature other than `serving_default`, name it in the request, for example
`"signature_name": "{other}"`.
{batching}
## Operations

{operations}

Use TF Serving {tensorflow} or later; the model was written by TensorFlow {tensorflow}.
"""  # noqa: E501
OWN = """\
The graph contains only TensorFlow's core operations, which every build of TF Serving can run."""
TEXT = """\
The graph contains these operations of tensorflow-text: {names}.

The official model server links them (`SUPPORTED_TENSORFLOW_OPS` in its `model_servers/BUILD`). For
a server without them, export again with `tokenizer=False`. Clients then send and receive ids."""
EQUAL_LENGTHS = """
With batching, the server merges requests only if the shapes of their inputs are equal except for
the first dimension. Requests with `source` must be padded to one length.
"""


def model_name(folder: Path) -> str:
    """The base path's name, as URLs, shells and configurations take it."""
    return re.sub(r"[^\w.-]", "_", folder.name, flags=re.ASCII)


def write_files(
    exportable: Exportable,
    version: Path,
    base_files: Path,
    name: str,
    samples: list,
    verified: Verification,
) -> None:
    """Writes the warm-up requests into a version, and the configurations and `serving.md`.

    Args:
        exportable: what was exported.
        version: folder of the version.
        base_files: folder of the files for the base path.
        name: name of the model.
        samples: the first batch of the verification.
        verified: what the SavedModel returned.
    """
    batch = exportable.encode(samples)
    calls = {
        signature.name: exportable.inputs(signature, samples, batch)
        for signature in exportable.signatures
    }
    extra = version / "assets.extra"
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for signature, inputs in calls.items():
            writer.write(prediction_log(name, signature, inputs))
    (base_files / "batching.config").write_text(BATCHING, encoding="utf-8")
    (base_files / "model.config").write_text(MODELS.format(name=name), encoding="utf-8")
    first, *_ = calls
    *_, other = calls
    operations = ", ".join(f"`{operation}`" for operation in verified.operations)
    outputs = {"outputs": verified.outputs[0][first]}
    answer = json.dumps(outputs, ensure_ascii=False, default=to_json)
    free_length = any(
        None in signature.input_spec["source"].shape[1:]
        for signature in exportable.signatures
        if "source" in signature.input_spec
    )
    page = PAGE.format(
        name=name,
        curl=_curl(name, first, *calls[first].items()),
        answer=_shortened(answer),
        signatures=_table(verified.signatures, calls),
        other=other,
        batching=EQUAL_LENGTHS if free_length else "",
        operations=TEXT.format(names=operations) if operations else OWN,
        tensorflow=tf.__version__,
    )
    (base_files / "serving.md").write_text(page, encoding="utf-8")


def prediction_log(name: str, signature: str, inputs: dict[str, Any]) -> bytes:
    """A request to predict as TF Serving logs it, and runs it when it loads a version.

    It is the message `PredictionLog` of tensorflow-serving-api, which is not needed to write it.
    """
    model = encode_field(1, name) + encode_field(3, signature)  # ModelSpec
    request = encode_field(1, model)  # PredictRequest
    for each, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += encode_field(2, encode_field(1, each) + encode_field(2, tensor))
    return encode_field(6, encode_field(1, request))  # PredictionLog, PredictLog


def _curl(name, signature, given):
    """The command that asks for an answer to a batch."""
    url = f"localhost:8501/v1/models/{name}:predict"
    each, rows = given
    if each == "image_bytes":
        start, end = '{"inputs": {"image_bytes": [{"b64": "', '"}]}}'
        return (
            f"(printf '{start}'; base64 < photo.jpg | tr -d '\\n'; printf '{end}') |\n"
            f"    curl -d @- {url}"
        )
    asked = {"inputs": {each: rows}}
    if signature != "serving_default":
        asked["signature_name"] = signature
    body = json.dumps(asked, ensure_ascii=False, default=to_json)
    if len(body) > LONGEST:  # pixels
        return f"# request.json: {_shortened(body)}\ncurl -d @request.json {url}"
    return f"curl -d {shlex.quote(body)} {url}"


def _shortened(text):
    return text if len(text) <= LONGEST else f"{text[:80]} ... {text[-20:]}"


def _table(signatures: dict, names: Iterable[str]) -> str:
    """Inputs and outputs of the signatures."""
    rows = ["| signature | inputs | outputs |", "| --- | --- | --- |"]
    for name in names:
        inputs, outputs, defaults = signatures[name]
        rows.append(f"| `{name}` | {_tensors(inputs, defaults)} | {_tensors(outputs)} |")
    return "\n".join(rows)


def _tensors(tensors, defaults=()):
    return ", ".join(
        f"`{name}` {tf.as_dtype(dtype).name} {_shape(shape)}"
        + (f", default {defaults[name][0]:g}" if name in defaults else "")
        for name, (_, dtype, shape) in sorted(
            tensors.items(), key=lambda x: (x[0] in defaults, x[0])
        )
    )


def _shape(shape):
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({', '.join(['batch', *sizes[1:]])})"
