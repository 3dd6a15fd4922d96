from pathlib import Path

import pytest

from helpers import run_script

EXAMPLE = Path(__file__).parents[2] / "examples" / "distant_pixels.py"


@pytest.mark.slow
def test_it_prints_the_accuracy_of_each_network(tmp_path):
    printed = run_script(EXAMPLE, "--images 128 --epochs 1", tmp_path)
    title, header, *rows = printed.splitlines()
    assert title == "Do both marks have the same color? 128 images, 1 epochs"
    assert header.split() == ["weights", "accuracy", "seconds"]
    table = {row[:16].strip(): row[16:].split() for row in rows}
    assert {name: weights for name, (weights, *_) in table.items()} == {
        "no block": "6369",
        "SAGAN block": "6882",
        "non-local block": "8417",
    }
    for _, accuracy, _ in table.values():  # hardly trained, so close to chance
        assert 30 < float(accuracy.removesuffix("%")) < 70
