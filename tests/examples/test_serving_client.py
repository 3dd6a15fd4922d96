"""Requests of the client to the REST server and to a gRPC service with TF Serving's messages."""

import contextlib
import io
import json
import re
import runpy
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from helpers import running_server, write_saved_model
from keras_attention.generation import BeamSearch
from keras_attention.layers import ResidualCNN
from keras_attention.models import captioner, seq2seq
from keras_attention.serving import RequestError, ServedModel, build_app
from keras_attention.tasks import Captioner, Translator
from keras_attention.text import CharacterTokenizer

pytestmark = [pytest.mark.tensorflow_only, pytest.mark.slow]
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
def models(tasks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, task in tasks.items():
        write_saved_model(task, folder / name / "1")
    return {name: ServedModel(folder / name, labels={"canary": 1}) for name in tasks}


@pytest.fixture(scope="module")
def rest(models):
    with running_server(build_app(list(models.values()))) as address:
        yield f"--rest={address}"


@pytest.fixture(scope="module")
def rpc(models):
    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            spec = request.model_spec
            version = spec.version.value if spec.HasField("version") else None
            try:
                with models[spec.name].session(version, spec.version_label or None) as (_, session):
                    outputs = session.run(spec.signature_name, inputs)
            except (ValueError, RequestError) as error:
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
    assert re.search("`signature` must be one of|signature name: .*nothing", ran.stderr)
    assert "Traceback" not in ran.stderr


def test_version_and_label(tasks, server):
    outputs = predict("letters", server, "abc", "--label", "canary")
    assert [each["text"] for each in outputs] == [tasks["letters"]("abc")]
    ran = run_client("letters", server, "abc", "--version", 2)
    assert ran.returncode and "Specific(letters, 2)" in ran.stderr


@pytest.mark.parametrize("option", ["--rest", "--grpc"])
def test_a_refused_connection_is_one_line(option):
    ran = run_client("letters", option, "localhost:1", "abc")
    assert ran.returncode == 1
    *_, line = [
        line for line in ran.stderr.splitlines() if not line.startswith(("WARNING", "I0", "E0"))
    ]
    assert "localhost:1" in line and "Traceback" not in ran.stderr
