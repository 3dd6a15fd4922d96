"""Files for TF Serving, parsed with the message classes of TF Serving."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from keras_attention.export.saved_model.c_api import Session
from keras_attention.export.saved_model.serving_files import (
    curl_command,
    model_name,
    prediction_log,
)

TEXT = ["serving_default", "details", "with_options"]
IDS = ["ids", "ids_details", "ids_with_options"]


@pytest.fixture(scope="module")
def session(saved_model):
    with Session(saved_model.folder / "1") as session:
        yield session


@pytest.fixture(scope="module")
def page(saved_model):
    return (saved_model.folder / "serving.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_warm_up_requests_run(saved_model, session, translator, samples):
    path = saved_model.folder / "1" / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path))
    ]
    requests = {}
    for log in logs:
        request = log.predict_log.request
        assert log.WhichOneof("log_type") == "predict_log" and request.model_spec.name == "ab_cd"
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        requests[request.model_spec.signature_name] = inputs
    assert sorted(requests) == sorted(session.signatures)
    assert requests["with_options"]["num_beams"].tolist() == [3]
    assert requests["details"]["text"].tolist() == [samples[0].encode()]
    expected = translator.generate(samples[:1])[0]
    assert session.run("details", requests["details"])["text"].tolist() == [
        [result.text.encode() for result in expected]
    ]
    outputs = session.run("ids", requests["ids"])
    assert outputs["scores"][0].tolist() == pytest.approx([x.score for x in expected], rel=1e-4)


def test_long_requests_with_arbitrary_bytes_are_encoded():
    image = bytes(range(256)) * 300
    log = prediction_log_pb2.PredictionLog.FromString(
        prediction_log("größer", "details", {"image_bytes": [image, b""]})
    )
    request = log.predict_log.request
    assert request.model_spec.name == "größer"
    assert tf.make_ndarray(request.inputs["image_bytes"]).tolist() == [image, b""]


def test_configurations(saved_model):
    config = text_format.Parse(
        (saved_model.folder / "model.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("ab_cd", "/models/ab_cd")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1
    lines = (saved_model.folder / "batching.config").read_text().splitlines()
    # fields of BatchingParameters, which tensorflow-serving-api does not contain
    fields = dict(
        re.fullmatch(r"(\w+) \{ value: (\w+) \}", x).groups() for x in lines if x[0] != "#"
    )
    assert fields == {
        "max_batch_size": "1024",
        "enable_large_batch_splitting": "true",
        "max_execution_batch_size": "32",
        "batch_timeout_micros": "2000",
        "max_enqueued_batches": "100",
        "num_batch_threads": "4",
    }


def test_the_page_shows_a_request_and_its_response(page, session, samples):
    curl, response = re.search(
        r"```bash\n(curl.*?)\n```.*?```json\n(.*?)\n```", page, re.S
    ).groups()
    command, _, body, url = shlex.split(curl)
    assert (command, url) == ("curl", "localhost:8501/v1/models/ab_cd:predict")
    inputs = json.loads(body)["inputs"]
    assert inputs == {"text": samples[:1]}
    outputs, shown = session.run("serving_default", inputs), json.loads(response)["outputs"]
    assert shown["text"] == [text.decode() for text in outputs["text"]]
    assert shown["score"] == pytest.approx(outputs["score"].tolist())


def test_the_page_lists_signatures_and_operations(page, session):
    assert '-v "$PWD:/models/ab_cd:ro" -e MODEL_NAME=ab_cd tensorflow/serving' in page
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", page, re.M)
    assert [name for name, *_ in rows] == [*TEXT, *IDS]
    assert rows[0][1:] == (
        "`text` string (batch)",
        "`score` float32 (batch), `text` string (batch)",
    )
    assert rows[2][1:] == (
        "`text` string (batch), `max_new_tokens` int32 (batch), default 9, "
        "`num_beams` int32 (batch), default 3",
        "`score` float32 (batch, 2), `text` string (batch, 2)",
    )
    assert rows[3][1:] == (
        "`source` int32 (batch, any)",
        "`ids` int32 (batch, 2, 9), `scores` float32 (batch, 2)",
    )
    assert {f"`{name}`" for name in session.operations} < set(re.findall("`[^`]*`", page))
    assert "Requests with `source` must be padded to one length" in page


def test_the_command_for_images_sends_the_photo(tmp_path):
    """Runs the command with a shell function in place of `curl`."""
    photo = bytes(range(256)) * 1000  # longer than a command line may be
    (tmp_path / "photo.jpg").write_bytes(photo)
    line = curl_command("photos", "serving_default", "image_bytes", [b""])
    script = f"curl() {{ cat; echo; echo $*; }}\n{line}"
    ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, check=True)
    body, options = ran.stdout.decode().splitlines()
    (image,) = json.loads(body)["inputs"]["image_bytes"]
    assert tf.io.decode_base64(image["b64"].replace("+", "-").replace("/", "_")) == photo
    assert options == "-d @- localhost:8501/v1/models/photos:predict"


def test_long_requests_are_abbreviated():
    line = curl_command("photos", "ids", "source", tf.zeros((1, 40, 40, 3), "uint8").numpy())
    assert len(line) < 300 and line.endswith(
        "curl -d @request.json localhost:8501/v1/models/photos:predict"
    )


@pytest.mark.parametrize(
    ("folder", "name"), [("serving/de-en", "de-en"), ("my model: größer", "my_model__gr__er")]
)
def test_model_names_are_safe_in_urls_and_shells(folder, name):
    assert model_name(Path(folder)) == name
