from pathlib import Path

import pytest

from helpers import run_script

EXAMPLE = Path(__file__).parents[2] / "examples" / "pretrain_finetune.py"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_method_is_trained_and_scored(tmp_path):
    options = "--texts 256 --epochs 2 --labels 320 --steps 4 --seeds 1"
    printed = run_script(EXAMPLE, options, tmp_path)
    first, _, _, _, *table = printed.splitlines()
    assert "perplexity of masked words" in first and "(of 900 words)" in first
    methods = {line[:34].strip(): [float(x) for x in line[34:].split()] for line in table}
    assert len(methods) == 6
    for method, (labels, mean, lowest, highest) in methods.items():
        assert labels == (320 if method == "from scratch, all labels" else 32)
        # hardly trained, so close to chance
        assert 5 < lowest == mean == highest < 40, method
