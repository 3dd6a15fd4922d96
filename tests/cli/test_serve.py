"""`keras-attention serve`: the server as a process, and its errors."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from helpers import accept_interrupts
from keras_attention.cli import main

pytestmark = pytest.mark.tensorflow_only
DATES = Path(__file__).parents[2] / "saved_models" / "dates"


@pytest.mark.slow
def test_it_serves_until_interrupted():
    command = [sys.executable, "-m", "keras_attention", "serve", str(DATES), "--rest-api-port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=accept_interrupts,
    ) as process:
        assert process.stdout and process.stderr
        line = process.stdout.readline()
        url = re.search(r"Serving version 1 of dates at (\S+); ", line)[1]
        body = json.dumps({"instances": ["31.12.2046 г."]}).encode()
        with urllib.request.urlopen(f"{url}:predict", body) as response:
            (row,) = json.load(response)["predictions"]
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()
    assert row["text"] == "2046-12-31"
    assert process.returncode == 130 and "Traceback" not in error


@pytest.mark.parametrize(
    "options, message",
    [
        (["--rest-api-port", "70000"], "from 0 to 65535. Received: '70000'"),
        (["--label", "canary"], "such as canary=2. Received: 'canary'"),
    ],
)
def test_invalid_options(options, message, capsys):
    with pytest.raises(SystemExit):
        main(["serve", str(DATES), *options])
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_errors_are_one_line(tmp_path, capsys):
    assert main(["serve", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "must have numbered versions" in error
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        assert main(["serve", str(DATES), "--rest-api-port", port]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "in use" in error
