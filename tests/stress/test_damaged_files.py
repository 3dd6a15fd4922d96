"""A small part of fuzz_readers.py, on the readers that take milliseconds."""

import random
import shutil

import pytest

from stress.damage import damage
from stress.readers import READERS

QUICK = {
    "images": 150, "text": 60, "json": 60, "torch": 100, "safetensors": 60,
    "wordpiece tokenizer": 25, "unigram tokenizer": 25, "Marian tokenizer": 25,
}  # fmt: skip


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("name", QUICK)
def test_damaged_files_are_read_or_refused_by_an_error_that_names_them(name, tmp_path):
    original = tmp_path / "original"
    original.mkdir()
    READERS[name].write(original)
    files = sorted(path for path in original.rglob("*") if path.is_file())
    for number in range(QUICK[name]):
        rng = random.Random(f"0 {name} {number}")
        damaged = rng.choice(files)
        folder = tmp_path / f"files{number}"
        shutil.copytree(original, folder)
        (folder / damaged.name).write_bytes(damage(damaged.read_bytes(), rng))
        try:
            READERS[name].read(folder, damaged.name)
        except ValueError as error:
            assert str(folder) in str(error) and "\n" not in str(error), number
