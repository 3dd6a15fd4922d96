from pathlib import Path

import pytest

from browser import WEB, needs_chromium
from helpers import run_script

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "chromium.py"
pytestmark = [*needs_chromium(WEB), pytest.mark.slow]


def test_each_way_generates_the_same_ids(tmp_path):
    sizes = "--layers 1 --hidden-dim 16 --heads 2 --vocabulary 50 --tokens 6 --source-length 5"
    printed = run_script(SCRIPT, f"{sizes} --rounds 1", tmp_path)
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line[:1] == "|"]
    assert rows[2:] == [
        "Python, loop in the file",
        "Chromium, loop in the file",
        "Chromium, token by token",
    ]
