"""Training on several devices and processes of JAX, compared with training on one device.

Each training is a process, since the number of devices is fixed when JAX starts.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compilation import XLA_FLAGS

# once, in the job that runs all folders
pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]

TOLERANCE = 2e-6  # of weights up to 1 after 9 steps; sums over devices have another order


class Training:
    """A process that trains, see `train_on_jax.py`."""

    def __init__(self, output: Path, devices: int = 1, **options):
        self.output = output
        arguments = []
        for name, value in options.items():
            arguments.append(f"--{name.replace('_', '-')}")
            arguments += [] if value is True else [str(value)]
        flags = f"{XLA_FLAGS} --xla_force_host_platform_device_count={devices}"
        paths = [str(Path(__file__).parents[1]), *sys.path]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "distributed.train_on_jax", output, *arguments],
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                "PYTHONPATH": os.pathsep.join(paths),
                "XLA_FLAGS": flags,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def result(self) -> dict[str, np.ndarray]:
        printed, _ = self.process.communicate(timeout=300)
        assert not self.process.returncode, printed
        with np.load(self.output) as arrays:
            return dict(arrays)


@pytest.fixture
def start(tmp_path):
    """Starts trainings, whose output is a file of this name; ends those that still run."""
    started = []

    def start_training(name, **options):
        started.append(Training(tmp_path / f"{name}.npz", **options))
        return started[-1]

    yield start_training
    for training in started:
        training.process.kill()


def assert_same_weights(trained, expected):
    for name, array in expected.items():
        if name.startswith("weight"):
            np.testing.assert_allclose(trained[name], array, rtol=0, atol=TOLERANCE, err_msg=name)


def assert_same_training(trained, expected):
    assert_same_weights(trained, expected)
    for name, array in expected.items():
        if name.startswith("generated"):
            np.testing.assert_array_equal(trained[name], array, err_msg=name)
    np.testing.assert_allclose(trained["perplexity"], expected["perplexity"], rtol=1e-5)
    np.testing.assert_allclose(trained["token_accuracy"], expected["token_accuracy"], rtol=1e-6)


def test_model_parallel_training_and_generation_equal_those_of_one_device(start):
    options = {"family": "causal_lm", "epochs": 1, "block_size": 8, "generate": True}
    one = start("one", **options)
    four = start("four", devices=4, distribution="fully_sharded", **options)
    trained = four.result()
    assert_same_training(trained, one.result())
    assert trained["largest_share"] == 0.25  # each device has a quarter of each matrix


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def test_two_processes_equal_one_also_after_one_was_killed(start, tmp_path):
    """Dropout is on: its seeds are part of the backup."""
    options = {"family": "causal_lm", "dropout": 0.3, "epochs": 3, "rows": 11}
    one = start("one", **options)

    options |= {"distribution": "data", "backup": tmp_path / "backup.npz", "processes": 2}
    port = free_port()
    survivor = start("survivor", process=0, port=port, **options)
    killed = start("killed", process=1, port=port, kill_in_epoch=1, **options)
    killed.process.communicate(timeout=300)
    assert killed.process.returncode == -signal.SIGKILL
    survivor.process.kill()  # it would wait until JAX gives up
    survivor.process.communicate(timeout=300)

    port = free_port()
    resumed = [start(f"resumed-{n}", process=n, port=port, **options) for n in (0, 1)]
    expected = one.result()
    for each in resumed:
        result = each.result()
        assert result["epochs"].tolist() == [1, 2]
        assert_same_weights(result, expected)
