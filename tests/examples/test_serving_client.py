"""Requests of the client to servers that imitate TF Serving with exported SavedModels.

The servers run the SavedModels with TensorFlow's C API. They have TF Serving's gRPC service and the
paths and bodies of its REST API: https://www.tensorflow.org/tfx/serving/api_rest.
"""

import base64
import contextlib
import http.server
import io
import json
import re
import runpy
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from helpers import write_saved_model
from keras_attention.export.saved_model.c_api import Session
from keras_attention.generation import BeamSearch
from keras_attention.layers import ResidualCNN
from keras_attention.models import captioner, seq2seq
from keras_attention.tasks import Captioner, Translator
from keras_attention.text import CharacterTokenizer

pytestmark = pytest.mark.tensorflow_only
CLIENT = Path(__file__).parents[2] / "examples" / "serving_client.py"
LETTERS = CharacterTokenizer.train(["abcde äß"])


def randomize(model):
    """Sets large random weights, so that outputs differ from input to input."""
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.8, weight.shape))
    return model


@pytest.fixture(scope="module")
def tasks():
    size, strategy = (
        LETTERS.vocabulary_size,
        BeamSearch(2, num_return_sequences=2, max_new_tokens=5),
    )
    return {
        "letters": Translator(randomize(seq2seq(size, size, 8, 8)), LETTERS, LETTERS, strategy, 12),
        "photos": Captioner(
            randomize(captioner(size, (16, 16), backbone=ResidualCNN((4, 8)), hidden_dim=8)),
            LETTERS,
            strategy,
        ),
    }


@pytest.fixture(scope="module")
def sessions(tasks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, task in tasks.items():
        write_saved_model(task, folder / name)
    sessions = {name: Session(folder / name) for name in tasks}
    yield sessions
    for session in sessions.values():
        session.close()


@pytest.fixture(scope="module")
def rest(sessions):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = re.fullmatch(r"/v1/models/([^:]+):predict", self.path)[1]
            name, *choice = name.split("/")  # ["versions", "1"], or ["labels", "canary"]
            inputs = {key: [_decode(x) for x in rows] for key, rows in body["inputs"].items()}
            try:
                check_choice(*choice)
                outputs = sessions[name].run(body["signature_name"], inputs)
                outputs = {key: array.tolist() for key, array in outputs.items()}
                status, response = 200, {"outputs": outputs}
            except ValueError as error:
                status, response = 400, {"error": str(error)}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(response, default=bytes.decode).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"--rest=localhost:{server.server_port}"
        server.shutdown()


def check_choice(kind="versions", which="1"):
    """Raises a `ValueError` unless the server has the version or label."""
    if (kind, which) not in (("versions", "1"), ("labels", "canary")):
        raise ValueError(f"no {kind} {which}")


def _decode(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


@pytest.fixture(scope="module")
def rpc(sessions):
    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            spec = request.model_spec
            try:
                if spec.HasField("version"):
                    check_choice("versions", str(spec.version.value))
                elif spec.version_label:
                    check_choice("labels", spec.version_label)
                outputs = sessions[spec.name].run(spec.signature_name, inputs)
            except ValueError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            tensors = {name: tf.make_tensor_proto(x) for name, x in outputs.items()}
            return predict_pb2.PredictResponse(model_spec=spec, outputs=tensors)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"--grpc=localhost:{port}"
    server.stop(None)


@pytest.fixture(params=["rest", "rpc"])
def server(request):
    return request.getfixturevalue(request.param)


def run_client(*arguments):
    """Runs the client: with gRPC, which imports TensorFlow, in this process."""
    command = [str(CLIENT), *map(str, arguments)]
    if not any(argument.startswith("--grpc") for argument in command):
        return subprocess.run([sys.executable, *command], capture_output=True, text=True)
    out, status, error = io.StringIO(), 0, ""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", command)
        try:
            runpy.run_path(str(CLIENT))
        except SystemExit as stop:
            status, error = 1, str(stop)
    return subprocess.CompletedProcess(command, status, out.getvalue(), error)


def predict(*arguments):
    ran = run_client(*arguments)
    assert not ran.returncode, ran.stderr[-2000:]
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_texts(tasks, server):
    texts = ["abc", "", "äß"]
    expected = tasks["letters"].generate(texts)
    outputs = predict("letters", server, *texts)
    assert [each["text"] for each in outputs] == [best.text for best, *_ in expected]
    assert [each["score"] for each in outputs] == pytest.approx(
        [best.score for best, *_ in expected], rel=1e-4
    )


def test_options(tasks, server):
    letters = tasks["letters"]
    model, short = letters.model, letters.strategy.replace(max_new_tokens=2)
    outputs = predict("letters", server, "--option", "max_new_tokens=2", "abc", "äß")
    batch = letters.preprocessor(["abc", "äß"])
    expected = model.generate(batch.model_inputs, short)
    texts = letters.postprocessor.texts(expected.ids, batch)
    assert [each["text"] for each in outputs] == texts


def test_images_with_details(tasks, server, tmp_path):
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(images):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3)).astype("uint8")
        path.write_bytes(tf.io.encode_png(pixels).numpy())
    expected = tasks["photos"].generate(images)
    outputs = predict("photos", server, "--images", "--signature=details", *images)
    assert [each["text"] for each in outputs] == [[a.text for a in row] for row in expected]
    attention = np.array(outputs[0]["attention"])
    assert attention.shape == (2, 5, *tasks["photos"].grid_shape)
    weights = tasks["photos"].attention(images[0]).weights
    np.testing.assert_allclose(attention[0, : len(weights)], weights, atol=1e-5)


def test_the_servers_error_is_printed(server):
    ran = run_client("letters", server, "--signature=nothing", "a")
    assert ran.returncode == 1
    assert "`signature` must be one of" in ran.stderr and "Traceback" not in ran.stderr


def test_version_and_label(tasks, server):
    outputs = predict("letters", server, "abc", "--label", "canary")
    assert [each["text"] for each in outputs] == [tasks["letters"]("abc")]
    ran = run_client("letters", server, "abc", "--version", 2)
    assert ran.returncode and "no versions 2" in ran.stderr


@pytest.mark.parametrize("option", ["--rest", "--grpc"])
def test_a_refused_connection_is_one_line(option):
    ran = run_client("letters", option, "localhost:1", "abc")
    assert ran.returncode == 1
    *_, line = [
        line for line in ran.stderr.splitlines() if not line.startswith(("WARNING", "I0", "E0"))
    ]
    assert "localhost:1" in line and "Traceback" not in ran.stderr
