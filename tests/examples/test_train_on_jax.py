import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import run_script
from keras_attention.tasks import Translator
from keras_attention.training import MaskedCrossEntropy, average_weights

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_on_jax.py"
WITHOUT_TENSORFLOW = (
    "import runpy, sys; sys.modules['tensorflow'] = None; sys.argv.pop(0); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jax")
    pairs = list(itertools.product(["one", "two", "six"], ["old", "red", "sad"], ["cat", "dog"]))
    (folder / "a").write_text("".join(f"{' '.join(words)}\n" for words in pairs))
    (folder / "b").write_text("".join(f"{' '.join(words[::-1])}\n" for words in pairs))
    options = "pack a b --output packed --vocabulary 24 --batch-tokens 64 --max-length 20"
    run_script(EXAMPLE, options, folder)
    return folder / "packed"


def run(command, folder, **environment):
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_an_existing_folder_is_not_changed(packed):
    before = {path: path.read_bytes() for path in packed.iterdir() if path.is_file()}
    command = [sys.executable, str(EXAMPLE), "pack", "a", "b", "--output", "packed"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=packed.parent)
    assert done.returncode == 1
    assert "`--output` must not exist. Received: --output packed" in done.stderr
    assert before == {path: path.read_bytes() for path in packed.iterdir() if path.is_file()}


def loss(packed):
    task, total = Translator.load(packed), 0
    with np.load(packed / "pairs.npz") as file:
        lengths = [name.split("_")[1] for name in file if name.startswith("size_")]
        for length in lengths:
            source, target, labels = (
                file[f"{side}_{length}"] for side in ("source", "target", "labels")
            )
            logits = task.model.predict({"source": source, "target": target}, verbose=0)
            total += float(MaskedCrossEntropy()(labels, logits)) * len(labels)
    return total / 18


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_every_pair_is_packed_once(packed):
    tokenizer = Translator.load(packed).source_tokenizer
    texts = []
    with np.load(packed / "pairs.npz") as file:
        for name in file:
            if name.startswith("size_"):
                assert file[name] == min(64 // int(name[5:]), len(file[f"source_{name[5:]}"]))
            if name.startswith(("source_", "labels_")):
                texts += [text.decode() for text in tokenizer.detokenize(file[name]).numpy()]
    lines = [(packed.parent / name).read_text().splitlines() for name in "ab"]
    assert sorted(texts) == sorted(lines[0] + lines[1])


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_training_on_jax_without_tensorflow_updates_the_translator(packed):
    before = loss(packed)
    options = "train packed --epochs 6 --average 2 --learning-rate 0.003 --warmup 4".split()
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(EXAMPLE), *options]
    printed = run(command, packed.parent, KERAS_BACKEND="jax")
    with np.load(packed / "pairs.npz") as file:
        lengths = [name.removeprefix("size_") for name in file if name.startswith("size_")]
        steps = sum(-(-len(file[f"source_{n}"]) // int(file[f"size_{n}"])) for n in lengths)
    assert printed.count(f"{steps}/{steps} -") == 6  # each epoch has all pairs
    files = sorted(packed.with_name("packed-epochs").glob("epoch-*.npz"))
    assert [file.stem for file in files] == ["epoch-00005", "epoch-00006"]
    weights = Translator.load(packed).model.get_weights()
    for weight, mean in zip(weights, average_weights(files), strict=True):
        np.testing.assert_array_equal(weight, mean)
    assert loss(packed) < before - 0.5
