"""Training under `tf.distribute.MirroredStrategy`, compared with training on one device."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow_only
SCRIPT = Path(__file__).with_name("train_on_tensorflow.py")


@pytest.mark.slow
def test_mirrored_training_equals_that_of_one_device(tmp_path):
    """The replicas have different numbers of tokens, and the loss is the mean over all tokens."""
    outputs = {}
    for name in ("one", "mirrored"):
        outputs[name] = tmp_path / f"{name}.npz"
        command = [sys.executable, SCRIPT, outputs[name], "--strategy", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert not done.returncode, done.stderr
    with np.load(outputs["one"]) as one, np.load(outputs["mirrored"]) as mirrored:
        assert set(one) == set(mirrored)
        for name in one:
            atol = 1e-6 if "weight" in name else 1e-4
            np.testing.assert_allclose(mirrored[name], one[name], 0, atol, err_msg=name)
