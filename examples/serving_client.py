"""A client of TF Serving with REST and gRPC, to copy and change.

    python examples/serving_client.py de-en "ein hund läuft ." "zwei männer"
    python examples/serving_client.py photos --images a.jpg b.png --signature details
    python examples/serving_client.py de-en --grpc localhost:8500 "ein hund läuft ."
    python examples/serving_client.py de-en --option num_beams=2 "ein hund"
    python examples/serving_client.py de-en --label canary "ein hund"

REST needs only Python's standard library; gRPC needs `pip install tensorflow-serving-api`. The
outputs for each input are printed as a line of JSON.
"""

import argparse
import base64
import json
import urllib.error
import urllib.request
from pathlib import Path


def predict_rest(
    server: str,
    model: str,
    signature: str,
    inputs: dict[str, list],
    version: int | None = None,
    label: str | None = None,
) -> dict[str, list]:
    """Returns the outputs of a signature by name, requested with REST; bytes are sent as base64."""

    def encode_bytes(data):
        return {"b64": base64.b64encode(data).decode("ascii")}

    body = json.dumps({"signature_name": signature, "inputs": inputs}, default=encode_bytes)
    choice = f"/versions/{version}" if version is not None else f"/labels/{label}" if label else ""
    url = f"http://{server}/v1/models/{model}{choice}:predict"
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["outputs"]
    except urllib.error.HTTPError as error:  # the body explains the error
        raise SystemExit(f"{url}: {error}: {error.read().decode()}") from None
    except OSError as error:  # no server, or no answer in time
        raise SystemExit(f"{url}: {error}") from None


def predict_grpc(
    server: str,
    model: str,
    signature: str,
    inputs: dict[str, list],
    version: int | None = None,
    label: str | None = None,
) -> dict[str, list]:
    """Returns the outputs of a signature by name, requested with gRPC."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    elif label:
        request.model_spec.version_label = label
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    no_limit = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server, no_limit) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            response = stub.Predict(request, timeout=60)
        except grpc.RpcError as error:
            raise SystemExit(f"{server}: {error.code().name}: {error.details()}") from None
    return {name: tf.make_ndarray(tensor).tolist() for name, tensor in response.outputs.items()}


def decode_bytes(value):
    """Converts the bytes that gRPC returns for strings."""
    return value.decode() if isinstance(value, bytes) else value


parser = argparse.ArgumentParser()
parser.add_argument("model", help="name of the model on the server")
parser.add_argument("inputs", nargs="+", help="texts, or files with --images")
parser.add_argument("--images", action="store_true", help="the inputs are JPEG or PNG files")
parser.add_argument("--signature", help="[serving_default; with_options if there are options]")
parser.add_argument(
    "--option",
    action="append",
    default=[],
    metavar="NAME=NUMBER",
    help="option of the generation, for all inputs",
)
chosen = parser.add_mutually_exclusive_group()
chosen.add_argument("--version", type=int, help="version of the model [the latest]")
chosen.add_argument("--label", help="label of a version in the server's model.config")
parser.add_argument("--rest", default="localhost:8501", metavar="HOST:PORT")
parser.add_argument("--grpc", metavar="HOST:PORT", help="use gRPC instead")
options = parser.parse_args()

if options.images:
    inputs = {"image_bytes": [Path(path).read_bytes() for path in options.inputs]}
else:
    inputs = {"text": options.inputs}
for option in options.option:
    name, _, number = option.partition("=")
    inputs[name] = [json.loads(number)] * len(options.inputs)
signature = options.signature or ("with_options" if options.option else "serving_default")
predict, server = (predict_grpc, options.grpc) if options.grpc else (predict_rest, options.rest)
outputs = predict(
    server, options.model, signature, inputs, version=options.version, label=options.label
)
for row in zip(*outputs.values(), strict=True):
    output = dict(zip(outputs, row, strict=True))
    print(json.dumps(output, ensure_ascii=False, default=decode_bytes))
