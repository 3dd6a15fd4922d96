from pathlib import Path

import pytest

from helpers import run_script
from keras_attention.tasks import TextClassifier, load_exported

EXAMPLE = Path(__file__).parents[2] / "examples" / "classify.py"


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_it_trains_and_exports_a_classifier(tmp_path):
    texts = [f"{a}{b}{c}" for a in "abc" for b in "abcdef" for c in "abcdef"]
    lines = [f"{text}\t{'first' if text[0] == 'a' else 'other'}\n" for text in texts]
    (tmp_path / "lines.tsv").write_text("".join(lines))
    options = "lines.tsv --output model --epochs 2 --layers 1 --hidden-dim 8"
    printed = run_script(EXAMPLE, options, tmp_path)
    assert "of 10 unseen texts are labeled correctly" in printed
    assert printed.count("24 of 24 outputs equal") == 2
    task = TextClassifier.load(tmp_path / "model" / "task")
    assert task.labels == ["first", "other"]
    for folder in ("serving", "phone"):
        assert load_exported(tmp_path / "model" / folder)(texts) == task(texts)
