"""The requests in the documentation get the responses that TensorFlow Serving documents."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import keras
import pytest

from helpers import running_server
from keras_attention.datasets.dates import dates
from keras_attention.generation import BeamSearch
from keras_attention.models import seq2seq
from keras_attention.serving import ServedModel, build_app
from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow_only,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the requests are made by curl"),
]
DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = [
    command
    for page in ("serving.md", "deployment.md")
    for command in re.findall(
        r"^curl (?!-d @)(?:.|\n(?! *(?:curl|python|```)))*", (DOCS / page).read_text("utf-8"), re.M
    )
]


@pytest.fixture(scope="module")
def translator():
    """The translator of the page."""
    keras.utils.set_random_seed(0)
    sources, targets = zip(*dates(200), strict=True)
    source, target = CharacterTokenizer.train(sources), CharacterTokenizer.train(targets)
    model = seq2seq(source.vocabulary_size, target.vocabulary_size, 16, 16)
    strategy = BeamSearch(3, max_new_tokens=11)
    return Translator(model, source, target, strategy, max_source_length=40)


@pytest.fixture(scope="module")
def address(translator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving") / "dates"
    translator.export(folder, "saved_model", ["march 3, 1998"])
    with running_server(build_app([ServedModel(folder, labels={"canary": 1})])) as address:
        yield address


def test_the_pages_have_requests():
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_request(command, address, translator):
    command = command.replace("localhost:8501", address)
    ran = subprocess.run(["bash", "-c", f"{command}"], capture_output=True, text=True, check=True)
    response = json.loads(ran.stdout)
    expected = translator("march 3, 1998")
    if ":predict" not in command:
        assert response.keys() & {"model_version_status", "metadata"}
    elif "with_options" in command:
        assert len(response["outputs"]["text"][0][0]) <= 5
    elif "details" in command:
        assert response["outputs"]["text"][0][0] == expected
        assert len(response["outputs"]["attention"][0][0]) == 11
    else:
        assert response["outputs"]["text"] == [expected]


def test_memory_does_not_grow(address, tmp_path):
    """Sends 2,000 requests after the first 200, from 8 clients at a time."""
    request = '{"instances": ["march 3, 1998", "2 may 2001"]}'
    config = tmp_path / "curl.txt"
    one = f'url = "http://{address}/v1/models/dates:predict"\ndata = {json.dumps(request)}\n'
    one += f'output = "{tmp_path}/out"\nsilent\n'

    def send(count):
        config.write_text("next\n".join([one] * count))
        subprocess.run(["curl", "--parallel", "--parallel-max", "8", "-K", config], check=True)
        assert json.loads((tmp_path / "out").read_text())["predictions"]
        return resident_mebibytes()

    before = send(200)
    assert send(2000) - before < 20


def resident_mebibytes():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
