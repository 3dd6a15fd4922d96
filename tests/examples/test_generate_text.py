from pathlib import Path

import pytest

from helpers import run_script
from keras_attention.tasks import TextGenerator, load_exported

EXAMPLE = Path(__file__).parents[2] / "examples" / "generate_text.py"


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_it_trains_generates_and_exports(tmp_path):
    options = "--output model --sentences 300 --epochs 1 --layers 1 --hidden-dim 16"
    options += " --vocabulary 100 --prompt 'the king'"
    printed = run_script(EXAMPLE, options, tmp_path)
    lines = printed.splitlines()
    assert sum("perplexity of" in line for line in lines) == 1
    prompt = "the king"
    generated = next(line for line in lines if line.startswith(f"{prompt} |"))
    assert generated == f"{prompt} |{TextGenerator.load(tmp_path / 'model' / 'task')(prompt)}"
    assert len([line for line in lines if "outputs equal" in line]) == 2
    assert load_exported(tmp_path / "model" / "phone")(prompt) == generated.split("|", 1)[1]
