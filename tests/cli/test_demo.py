import json
import math
import re

import pytest

from keras_attention.cli import main
from keras_attention.cli.demo import exact_match
from keras_attention.tasks import Translator, load_exported

pytestmark = pytest.mark.tensorflow_only


def test_exact_match():
    assert exact_match(["2021-03-07", "2021-03-08", ""], ["2021-03-07", "2021-03-09", ""]) == 2 / 3


@pytest.mark.slow
def test_complete_run(tmp_path, capsys):
    assert main(["demo", "the 4th of july, 1976", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert float(re.search(r"exact match: ([\d.]+)%", printed)[1]) >= 98.5
    assert "'the 4th of july, 1976' -> 1976-07-04" in printed
    assert (tmp_path / "alignment.png").read_bytes().startswith(b"\x89PNG")
    exports = tmp_path / "saved_model", tmp_path / "tflite"
    for folder in (exports[0] / "1", exports[1]):
        agreement = json.loads((folder / "verification.json").read_text())["agreement"]
        assert agreement["equal"] + agreement["ties"] == agreement["compared"] > 20

    texts = ["Dienstag, den 3. März 1998", "no date", ""]
    for task in (Translator.load(tmp_path / "model"), *map(load_exported, exports)):
        date, *others = [outputs[0] for outputs in task.generate(texts)]
        assert date.text == "1998-03-03"
        assert math.exp(date.score) > 0.5
        assert all(other.score < date.score for other in others)
