"""The script for a GPU runs at tiny sizes on the CPU, with JAX and with PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# in one process, which starts JAX, PyTorch and Keras once
RUN_ALL = """
import gpu, worker
for title, variants, options, tokens in gpu.work(tiny=True):
    for name, variant in variants.items():
        worker.make_run(variant.step, options)()
        print(title, name, sep="; ")
"""


@pytest.mark.slow
def test_every_variant_runs():
    environment = {"KERAS_BACKEND": "jax", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN_ALL]
    result = subprocess.run(
        command, cwd=BENCHMARKS, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if "; " in line]
    assert len(lines) == 3 + 4 + 3 + 3
    assert {"training step; torch", "attention, length 16; keras_layer"} < set(lines)
    assert "generation, 4 beams; transformers" in lines
