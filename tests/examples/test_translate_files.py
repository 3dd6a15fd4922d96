from pathlib import Path

import pytest

from helpers import run_script
from keras_attention.tasks import Translator

EXAMPLE = Path(__file__).parents[2] / "examples" / "translate_files.py"


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_it_trains_and_saves_a_translator(tmp_path):
    numbers = [f"{tens} {ones}" for tens in "ABCDEFGH" for ones in "abcdefgh"]
    (tmp_path / "source").write_text("".join(f"{text} .\n" for text in numbers))
    (tmp_path / "target").write_text("".join(f"{text.swapcase()} .\n" for text in numbers))
    options = "source target --output model --epochs 2 --units 16 --vocabulary 25"
    printed = run_script(EXAMPLE, options, tmp_path)
    assert "val_bleu" in printed
    assert (tmp_path / "model" / "best.weights.h5").is_file()
    assert not (tmp_path / "model" / "backup").exists()  # removed after a completed training
    translator = Translator.load(tmp_path / "model" / "translator")
    assert printed.splitlines()[-1] == f"H f . -> {translator('H f .')}"
