import subprocess
import sys
from pathlib import Path

import pytest

from keras_attention.tasks import TextClassifier, load_exported

EXAMPLE = Path(__file__).parents[2] / "examples" / "classify.py"


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_it_trains_and_exports_a_classifier(tmp_path):
    texts = [f"{a}{b}{c}" for a in "abc" for b in "abcdef" for c in "abcdef"]
    lines = [f"{text}\t{'first' if text[0] == 'a' else 'other'}\n" for text in texts]
    (tmp_path / "lines.tsv").write_text("".join(lines))
    options = "lines.tsv --output model --epochs 2 --layers 1 --hidden-dim 8"
    command = [sys.executable, str(EXAMPLE), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert not done.returncode, done.stderr
    assert "of 10 unseen texts are labeled correctly" in done.stdout
    assert done.stdout.count("24 of 24 outputs equal") == 2
    task = TextClassifier.load(tmp_path / "model" / "task")
    assert task.labels == ["first", "other"]
    for folder in ("serving", "phone"):
        assert load_exported(tmp_path / "model" / folder)(texts) == task(texts)
