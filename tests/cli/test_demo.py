import contextlib
import io
import json
import math
import os
import re
from pathlib import Path

import pytest

from keras_attention.cli import main
from keras_attention.cli.demo import exact_match
from keras_attention.tasks import Translator, load_exported

pytestmark = pytest.mark.tensorflow_only


def test_exact_match():
    assert exact_match(["2021-03-07", "2021-03-08", ""], ["2021-03-07", "2021-03-09", ""]) == 2 / 3


@pytest.fixture
def demo(tmp_path):
    """The folder of a run and what it printed; .ci/run has run the demo before."""
    before = os.environ.get("KERAS_ATTENTION_DEMO")
    if before is not None:
        return Path(before), Path(before, "printed.txt").read_text(encoding="utf-8")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["demo", "--output", str(tmp_path)]) == 0
    return tmp_path, printed.getvalue()


@pytest.mark.slow
def test_complete_run(demo):
    folder, printed = demo
    assert float(re.search(r"exact match: ([\d.]+)%", printed)[1]) >= 99
    assert "'Dienstag, den 3. März 1998' -> 1998-03-03" in printed
    assert (folder / "alignment.png").read_bytes().startswith(b"\x89PNG")
    exports = folder / "saved_model", folder / "tflite"
    for export in (exports[0] / "1", exports[1]):
        agreement = json.loads((export / "verification.json").read_text())["agreement"]
        assert agreement["equal"] + agreement["ties"] == agreement["compared"] > 20

    texts = ["the 4th of july, 1976", "no date", ""]
    for task in (Translator.load(folder / "model"), *map(load_exported, exports)):
        date, *others = [outputs[0] for outputs in task.generate(texts)]
        assert date.text == "1976-07-04"
        assert math.exp(date.score) > 0.5
        assert all(other.score < date.score for other in others)
