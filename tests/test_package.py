import json
import os
import re
import subprocess
import sys
from importlib import metadata

import keras
import pytest

import keras_attention

# JAX is imported in a third of the time of TensorFlow.
ON_JAX = {**os.environ, "KERAS_BACKEND": "jax"}

# Runs in a new interpreter, as a script of somebody who has a saved model and nothing else.
SCRIPT = """
import json, sys
import keras
before = set(sys.modules)
import keras_attention
print(json.dumps(sorted(set(sys.modules) - before)))
model = keras.saving.load_model(sys.argv[1])
print(json.dumps(list(model(keras.ops.ones((1, 2, 3))).shape)))
"""


def test_importing_the_package_is_cheap_and_enough_to_load_a_model(tmp_path):
    inputs = keras.Input((2, 3))
    layer = keras_attention.layers.BahdanauAttention(units=4)
    keras.Model(inputs, layer(inputs, inputs)).save(tmp_path / "model.keras")

    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, env=ON_JAX)
    assert not done.returncode, done.stderr
    extra, shape = map(json.loads, done.stdout.splitlines()[-2:])
    # The promise is 0.2 s beyond `import keras`; what is not loaded takes no time.
    assert {name.split(".")[0] for name in extra} - sys.stdlib_module_names == {"keras_attention"}
    parts = {"datasets", "export", "interop", "metrics", "tasks", "text", "viz"}  # load when used
    assert not {name.split(".")[1] for name in extra if name.startswith("keras_attention.")} & parts
    assert shape == [1, 2, 3]


def test_other_backends_are_refused():
    command = [sys.executable, "-c", "import keras_attention"]
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode
    assert done.stderr.splitlines()[-1] == (
        "ImportError: Keras's backend (KERAS_BACKEND) must be one of "
        "('tensorflow', 'jax', 'torch'). Received: 'numpy'"
    )


@pytest.mark.parametrize("name", keras_attention.__all__)
def test_every_part_loads_when_used(name):
    assert getattr(keras_attention, name).__name__ == f"keras_attention.{name}"
    assert name in dir(keras_attention)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="module 'keras_attention' has no attribute 'layer'"):
        keras_attention.layer  # noqa: B018
    with pytest.raises(ImportError):
        from keras_attention import layer  # noqa: F401


def test_the_version_is_the_packages():
    assert re.fullmatch(r"\d+\.\d+\.\d+", keras_attention.__version__)
    assert metadata.version("attention-for-keras") == keras_attention.__version__


def test_the_command_is_installed():
    (command,) = metadata.entry_points(group="console_scripts", name="keras-attention")
    assert command.value == "_keras_attention_cli:main"


@pytest.mark.slow
def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "keras_attention", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=ON_JAX)
    assert not done.returncode, done.stderr
    assert "keras-attention" in done.stdout
