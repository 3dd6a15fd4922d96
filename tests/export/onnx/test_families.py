"""ONNX files of other models than those of `test_runner.py`, compared as the parities are."""

import onnx
import pytest

from keras_attention.export.onnx.conversion import convert
from keras_attention.export.onnx.runner import FILE, ONNXRunner
from parities.checks import TOLERANCE, compare_runner, task_of
from parities.families import build

pytestmark = [pytest.mark.tensorflow_only, pytest.mark.slow]
NAMES = (
    "Transformer, post, marian, sampled",  # with GELU
    "causal language model, rotary",
    "captioner, soft",
    "classifier",
    "tagger",
)


@pytest.mark.parametrize("name", NAMES)
def test_family(name, tmp_path):
    task = task_of(name, build(name))
    (signature,) = task.signatures("onnx")
    onnx.save(convert(signature), tmp_path / FILE)
    runner = ONNXRunner(tmp_path)
    assert compare_runner(task, lambda source: runner(source, details=True)) <= TOLERANCE
