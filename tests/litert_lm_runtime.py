"""Exports in the unmodified LiteRT-LM runtime, in a process of its own."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

needs_litert_lm = pytest.mark.skipif(
    importlib.util.find_spec("litert_lm") is None, reason="LiteRT-LM needs litert-lm-api"
)
SCRIPT = """
import json, sys
import litert_lm

file, prompts, max_new_tokens = json.load(sys.stdin)
litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
# Without a cache, as it would write weights next to the file.
engine = litert_lm.Engine(file, litert_lm.Backend.CPU(), cache_dir=":nocache")
texts = []
for parts in prompts:
    options = {"apply_prompt_template": False, "max_output_tokens": max_new_tokens}
    with engine.create_session(**options) as session:
        for part in parts:
            session.run_prefill([part])
        texts += session.run_decode().texts
print(json.dumps(texts))
"""


def generate(
    file: Path, prompts: Sequence[str | Sequence[str]], max_new_tokens: int | None = None
) -> list[str]:
    """Returns the texts that LiteRT-LM generates, with the sampling that the file describes.

    Args:
        file: the `.litertlm` file.
        prompts: prompts; one of several parts is passed part by part.
        max_new_tokens: maximum number of tokens; `None` is as many as fit.
    """
    parts = [[prompt] if isinstance(prompt, str) else list(prompt) for prompt in prompts]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([str(file), parts, max_new_tokens]), capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
