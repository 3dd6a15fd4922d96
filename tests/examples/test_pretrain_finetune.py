import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "pretrain_finetune.py"


@pytest.mark.slow
def test_every_way_is_trained_and_scored():
    options = "--texts 256 --epochs 2 --labels 320 --steps 4 --seeds 1"
    command = [sys.executable, str(EXAMPLE), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    first, _, _, _, *table = done.stdout.splitlines()
    assert "perplexity of hidden words" in first and "(of 900 words)" in first
    ways = {line[:34].strip(): [float(x) for x in line[34:].split()] for line in table}
    assert len(ways) == 6
    for way, (labels, mean, mask_value, highest) in ways.items():
        assert labels == (320 if way == "from scratch, all labels" else 32)
        # hardly trained: not far from chance
        assert 5 < mask_value == mean == highest < 40, way
