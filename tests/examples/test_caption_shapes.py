import re
from pathlib import Path

import pytest

from helpers import run_script
from keras_attention.tasks import Captioner

EXAMPLE = Path(__file__).parents[2] / "examples" / "caption_shapes.py"


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_it_trains_draws_and_exports(tmp_path):
    options = "--scenes 64 --test-scenes 20 --epochs 1 --output model"
    printed = run_script(EXAMPLE, options, tmp_path)
    assert re.search(r"^\d+ of 20 unseen images have exactly the right caption$", printed, re.M)
    pattern = r"^(\d+) of (\d+) nouns attend to the box of their object, (\d+) to its pixels$"
    in_box, nouns, on_pixels = map(int, re.search(pattern, printed, re.M).groups())
    assert 0 <= on_pixels <= in_box <= nouns and nouns >= 20
    assert printed.count("42 of 42 outputs equal") == 2
    assert isinstance(Captioner.load(tmp_path / "model" / "task"), Captioner)
    pictures = {path.name for path in (tmp_path / "model").glob("attention*")}
    assert pictures == {"attention-0.png", "attention-1.png", "attention-2.png", "attention.gif"}
