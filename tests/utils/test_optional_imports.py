import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_attention.utils.optional_imports import EXTRAS, require_extra

# Runs in a new interpreter that cannot import some packages, as if they were not installed.
SCRIPT = """
import sys
part, *blocked = sys.argv[1:]

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
import importlib
import keras_attention
try:
    importlib.import_module(part)
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    "part, extra, package",
    [
        ("keras_attention.text", "text", "sentencepiece"),
        ("keras_attention.images", "tensorflow", "tensorflow"),
        ("keras_attention.export.tflite", "export", "ai_edge_litert"),
        ("keras_attention.export", "export", "tensorflow"),
        ("keras_attention.viz", "viz", "PIL"),
        ("keras_attention.metrics", "metrics", "sacrebleu"),
        ("keras_attention.interop.marian", "text", "safetensors"),
        ("keras_attention.tasks", "text", "tensorflow_text"),
    ],
)
def test_import_without_extra_names_the_extra(part, extra, package):
    command = [sys.executable, "-c", SCRIPT, part, package]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert not done.returncode, done.stderr
    assert done.stdout.startswith("ImportError"), done.stdout
    assert f"the extra `{extra}`: in a checkout" in done.stdout
    assert f'`pip install -e ".[{extra}]"`' in done.stdout
    assert f"Received: no package '{package}'" in done.stdout


def test_installed_extra_is_accepted():
    require_extra("metrics", "keras_attention.metrics")


def test_missing_packages_are_listed(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        ImportError, match="`pictures` requires the extra `viz`.*'matplotlib', 'PIL'"
    ):
        require_extra("viz", "pictures")


def test_extras_are_those_of_setup_cfg():
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    assert set(EXTRAS) <= set(config["options.extras_require"])
