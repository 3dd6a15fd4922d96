import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "pretrain_finetune.py"


@pytest.mark.slow
def test_every_method_is_trained_and_scored():
    options = "--texts 256 --epochs 2 --labels 320 --steps 4 --seeds 1"
    command = [sys.executable, str(EXAMPLE), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    first, _, _, _, *table = done.stdout.splitlines()
    assert "perplexity of masked words" in first and "(of 900 words)" in first
    methods = {line[:34].strip(): [float(x) for x in line[34:].split()] for line in table}
    assert len(methods) == 6
    for method, (labels, mean, lowest, highest) in methods.items():
        assert labels == (320 if method == "from scratch, all labels" else 32)
        # hardly trained, so close to chance
        assert 5 < lowest == mean == highest < 40, method
