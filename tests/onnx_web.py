"""ONNX exports in onnxruntime-web, run by verify.mjs and the page in examples/onnx_web/."""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from browser import chromium, decorator, needs_chromium, needs_node, opened
from helpers import model_inputs

EXAMPLE = Path(__file__).parents[1] / "examples" / "onnx_web"

in_node = decorator(needs_node(EXAMPLE))
in_chromium = decorator(needs_chromium(EXAMPLE))


def record(task: Any, texts: Sequence[str]) -> dict:
    """Returns what a task returns for each text alone, in the form of `samples.json`."""
    sources = [model_inputs(task, [text]) for text in texts]
    outputs = [task.runner(source) for source in sources]
    return {
        "samples": list(texts),
        "inputs": [{"source": source.tolist()} for source in sources],
        "outputs": [{name: x.tolist() for name, x in each.items()} for each in outputs],
    }


def assert_equal_in_node(task: Any, texts: Sequence[str], folder: Path, scratch: Path) -> None:
    """Compares what an export returns under Node.js with what its task returns."""
    samples = scratch / "more_samples.json"
    samples.write_text(json.dumps(record(task, texts)), encoding="utf-8")
    command = ["node", str(EXAMPLE / "verify.mjs"), str(folder), str(samples)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    assert f": {len(texts)} of {len(texts)} outputs equal" in done.stdout


def assert_equal_in_chromium(task: Any, texts: Sequence[str], folder: Path) -> None:
    """Compares what an export returns on the page with what its task returns."""
    with chromium() as browser, opened(browser, folder, EXAMPLE) as page:
        result = page.evaluate(
            """async (recorded) => {
                const { compare } = await import("/compare.mjs");
                return compare("model/model.onnx", recorded);
            }""",
            record(task, texts),
        )
        status = page.inner_text("#status")
    assert result["agrees"], result["lines"]
    assert f": {len(texts)} of {len(texts)} outputs equal" in result["lines"][-1]
    (count,) = re.findall(r": (\d+) of \1 outputs equal", status)  # of the recorded samples
    assert int(count) > 0
