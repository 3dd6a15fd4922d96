"""The server, over HTTP, with the ready-made model and its requests."""

import concurrent.futures
import contextlib
import json
import re
import shlex
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from helpers import running_server
from keras_attention.serving import ServedModel, build_app

pytestmark = pytest.mark.tensorflow_only
DATES = Path(__file__).parents[2] / "saved_models" / "dates"
TEXTS = ["31.12.2046 г.", "march 3, 1998", "", "2 may 2001"]


@pytest.fixture(scope="module")
def model():
    return ServedModel(DATES, labels={"stable": 1})


@pytest.fixture(scope="module")
def session(model):
    with model.session() as (_, session):
        yield session


@pytest.fixture(scope="module")
def url(model):
    app = build_app([model], max_concurrency=2, max_waiting=100, max_body_bytes=100_000)
    with running_server(app) as address:
        yield f"http://{address}"


def get(url, body=None, method=None):
    """Returns the status and the content of a response."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            assert response.headers["Content-Type"] == "application/json"
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_documented_request_gets_the_documented_response(url):
    page = (DATES / "serving.md").read_text(encoding="utf-8")
    command, response = re.search(r"\n(curl -d .*)\n```(?s:.*?)```json\n(.*)\n```", page).groups()
    _, _, body, address = shlex.split(command)
    status, received = get(url + address.removeprefix("localhost:8501"), body.encode())
    expected = json.loads(response)["outputs"]
    assert status == 200
    assert received["outputs"]["text"] == expected["text"]
    assert received["outputs"]["score"] == pytest.approx(expected["score"], abs=1e-5)


def test_rows_columns_and_signatures_agree_with_the_session(url, session):
    expected = session.run("serving_default", {"text": TEXTS})
    details = session.run("details", {"text": TEXTS})
    texts = [text.decode() for text in expected["text"]]
    predict = f"{url}/v1/models/dates:predict"
    assert get(predict, {"inputs": {"text": TEXTS}})[1]["outputs"]["text"] == texts
    _, rows = get(predict, {"instances": TEXTS})
    assert [row["text"] for row in rows["predictions"]] == texts
    _, rows = get(predict, {"instances": [{"text": text} for text in TEXTS]})
    assert [row["text"] for row in rows["predictions"]] == texts
    scores = [row["score"] for row in rows["predictions"]]
    assert scores == pytest.approx(expected["score"].tolist(), rel=1e-6)
    body = {"inputs": {"text": TEXTS}, "signature_name": "details"}
    _, columns = get(f"{url}/v1/models/dates/versions/1:predict", body)
    assert columns["outputs"]["attention"][1][0][0] == pytest.approx(
        details["attention"][1, 0, 0].tolist(), rel=1e-6
    )
    body = {"inputs": {"text": TEXTS[:1]}, "signature_name": "with_options"}
    body["inputs"]["max_new_tokens"] = [4]
    _, columns = get(f"{url}/v1/models/dates/labels/stable:predict", body)
    assert columns["outputs"]["text"] == [["2046"]]


def test_status_and_metadata(url):
    ok = {"error_code": "OK", "error_message": ""}
    versions = [{"version": "1", "state": "AVAILABLE", "status": ok}]
    for path in ("", "/versions/1", "/labels/stable"):
        response = get(f"{url}/v1/models/dates{path}")
        assert response == (200, {"model_version_status": versions})
    status, metadata = get(f"{url}/v1/models/dates/metadata")
    assert status == 200 and metadata["model_spec"]["version"] == "1"
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["text"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize(
    "path, body, status, message",
    [
        ("/v1/models/other:predict", {"instances": ["a"]}, 404, r"request: Latest\(other\)"),
        ("/v1/models/dates/versions/7:predict", {}, 404, r"request: Specific\(dates, 7\)"),
        ("/v1/models/dates/labels/new:predict", {}, 400, "servable version label: new"),
        ("/v1/models/other", None, 404, "Could not find any versions of model other"),
        ("/v1/models/dates/versions/7", None, 404, "Could not find version 7 of model dates"),
        ("/v1/models/dates:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("/v1/models/dates:predict", {"instances": [["a"]]}, 400, "`text` must be strings"),
        ("/v1/models/dates:predict", b'{"inputs": {"\\ud800": []}}', 400, "named input: \ud800"),
        ("/v1/models/dates:classify", {}, 400, "Was: tensorflow/serving/predict"),
        ("/v1/models/dates:predict", None, 400, "Malformed request: GET /v1/models/dates:predict"),
        ("/v1/models/dates", {}, 400, "Malformed request: POST /v1/models/dates"),
        ("/", None, 400, "Malformed request: GET /"),
        ("/v1/models/dates:predict", b"x" * 100_001, 413, "may have 100000 bytes"),
    ],
)
def test_errors(url, path, body, status, message):
    received, content = get(url + path, body)
    assert received == status and re.search(message, content["error"])


def test_64_clients_get_their_own_outputs(url, session):
    texts = [f"{day} may {year}" for day in range(1, 9) for year in range(1990, 1998)]
    expected = session.run("serving_default", {"text": texts})["text"]

    def ask(text):
        return get(f"{url}/v1/models/dates:predict", {"instances": [text]})[1]["predictions"]

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        received = list(pool.map(ask, texts))
    assert [rows[0]["text"] for rows in received] == [text.decode() for text in expected]


def test_requests_beyond_the_limit_are_refused(model):
    app = build_app([model], max_concurrency=1, max_waiting=0)
    app.router.lifespan_context = lambda app: contextlib.nullcontext()  # does not close the model
    with running_server(app) as address, concurrent.futures.ThreadPoolExecutor(8) as pool:
        url = f"http://{address}/v1/models/dates:predict"
        responses = list(pool.map(lambda _: get(url, {"instances": TEXTS}), range(8)))
    assert {status for status, _ in responses} == {200, 503}
    assert all("busy" in content["error"] for status, content in responses if status == 503)
