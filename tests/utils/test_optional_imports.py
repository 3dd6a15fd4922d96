import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_attention.utils.optional_imports import EXTRAS, LazyModule, require_extra

# Imports each part in a process that cannot import a package, as if it were not installed. The
# processes are forks of a new interpreter that has imported Keras.
SCRIPT = """
import importlib
import os
import sys

import keras

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
for part, blocked in zip(sys.argv[1::2], sys.argv[2::2]):
    if os.fork() == 0:
        for name in [name for name in sys.modules if name.split(".")[0] == blocked]:
            del sys.modules[name]  # imported by Keras if it is there
        import keras_attention
        try:
            importlib.import_module(part)
            print("imported", flush=True)
        except ImportError as error:
            print(type(error).__name__, error, flush=True)
        os._exit(0)
    os.wait()
"""


PARTS = (
    ("keras_attention.text", "text", "sentencepiece"),
    ("keras_attention.images", "tensorflow", "tensorflow"),
    ("keras_attention.export.tflite", "export", "ai_edge_litert"),
    ("keras_attention.export", "export", "tensorflow"),
    ("keras_attention.viz", "viz", "PIL"),
    ("keras_attention.metrics", "metrics", "sacrebleu"),
    ("keras_attention.interop.marian", "text", "safetensors"),
    ("keras_attention.export.onnx", "onnx", "tf2onnx"),
    ("keras_attention.tasks", "text", "tensorflow_text"),
)


@pytest.mark.slow
def test_import_without_extra_names_the_extra():
    arguments = [name for part, _, package in PARTS for name in (part, package)]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, env=environment
    )
    assert not done.returncode, done.stderr
    for (_, extra, package), line in zip(PARTS, done.stdout.splitlines(), strict=True):
        assert line.startswith("ImportError"), line
        assert f"the extra `{extra}`: in a checkout" in line
        assert f'`pip install -e ".[{extra}]"`' in line
        assert f"Received: no package '{package}'" in line


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


def test_lazy_module_is_imported_when_it_is_used(tmp_path, monkeypatch):
    (tmp_path / "module_of_this_test.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = LazyModule("module_of_this_test")
    assert repr(module) == "LazyModule('module_of_this_test')"
    assert "module_of_this_test" not in sys.modules
    assert module.value == 3
    assert "module_of_this_test" in sys.modules
    with pytest.raises(AttributeError, match="other"):
        _ = module.other
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = LazyModule("no_such_module").value
