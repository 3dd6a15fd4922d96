"""ONNX exports in onnxruntime-web, run by examples/onnx_web/verify.mjs."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers import model_inputs

EXAMPLE = Path(__file__).parents[1] / "examples" / "onnx_web"

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and (EXAMPLE / "node_modules").is_dir()),
    reason="onnxruntime-web needs Node.js and `npm install` in examples/onnx_web",
)


def assert_equal_in_onnxruntime_web(
    task: Any, texts: Sequence[str], folder: Path, scratch: Path
) -> None:
    """Compares what an export returns with what its task returns, for each text alone."""
    sources = [model_inputs(task, [text]) for text in texts]
    outputs = [task.runner(source) for source in sources]
    recorded = {
        "samples": texts,
        "inputs": [{"source": source.tolist()} for source in sources],
        "outputs": [{name: x.tolist() for name, x in each.items()} for each in outputs],
    }
    samples = scratch / "more_samples.json"
    samples.write_text(json.dumps(recorded), encoding="utf-8")
    command = ["node", str(EXAMPLE / "verify.mjs"), str(folder), str(samples)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    assert f": {len(texts)} of {len(texts)} outputs equal" in done.stdout
