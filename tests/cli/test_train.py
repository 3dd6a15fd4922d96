import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_attention.cli import main
from keras_attention.models.sizes import SIZES
from keras_attention.recipes.fit import unfinished
from keras_attention.tasks import Translator

pytestmark = pytest.mark.tensorflow_only


def test_it_says_what_it_learns_from_and_where_the_model_is(trained):
    folder, printed = trained
    parameters = Translator.load(folder).model.count_params()
    assert f"200 pairs; 50 and 50 tokens; {parameters:,} parameters" in printed
    assert f"The best model is in {folder}. Try: keras-attention generate {folder}" in printed
    assert json.loads((folder / "training.json").read_text())["epoch"] == 1
    assert not unfinished(folder).exists()


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["wordpiece", "characters", "unigram"])
def test_other_tokenizers_and_models(tokenizer, files, tmp_path, capsys):
    other = f"--tokenizer {tokenizer} --epochs 1 --output {tmp_path / 'model'}"
    model = "--cell lstm --attention luong --input-feeding --decoder-layers 2 --units 8 --lowercase"
    assert main(["train", *files.options, *other.split(), *model.split()]) == 0
    assert "val_bleu" in capsys.readouterr().out
    assert isinstance(Translator.load(tmp_path / "model")("the dog is big ."), str)


@pytest.fixture
def transformer(files, tmp_path, monkeypatch):
    """The options of a small transformer: those of the files without the RNN's sizes."""
    small = SIZES["tiny"]._replace(num_layers=1, hidden_dim=16, intermediate_dim=16)
    monkeypatch.setitem(SIZES, "tiny", small)
    place = files.options.index("--units")
    assert files.options[place + 2] == "--embedding"
    options = files.options[:place] + files.options[place + 4 :]
    return [*options, "--output", str(tmp_path / "model"), "--model", "transformer"]


def test_a_transformer_with_a_joint_vocabulary(transformer, tmp_path, capsys):
    options = "--joint-vocabulary --norm post --dropout 0.1 --epochs 2 --average 2 --warmup 5"
    more = "--decay inverse_sqrt --batch-tokens 400 --learning-rate 0.01 --bfloat16"
    assert main(["train", *transformer, *options.split(), *more.split()]) == 0
    said = capsys.readouterr().out
    assert "200 pairs; 50 and 50 tokens" in said
    assert "val_bleu of 2 epochs averaged" in said
    task = Translator.load(tmp_path / "model")
    assert task.source_tokenizer.vocabulary == task.target_tokenizer.vocabulary
    assert {"▁the", "ß"} <= set(task.source_tokenizer.vocabulary)  # of either side
    shapes = [tuple(weight.shape) for weight in task.model.weights]
    assert shapes.count((50, 16)) == 1  # one embedding, and the output is tied to it


def test_options_of_the_other_architecture_are_refused(files, transformer, refused):
    said = refused("train", *transformer, "--tie-embeddings")
    assert "--tie-embeddings: expected with --model rnn. Received: --model transformer" in said
    said = refused("train", *transformer, "--model", "rnn", "--size", "tiny")
    assert "--size: expected with --model transformer. Received: --model rnn" in said


def test_risk_wants_a_model_to_start_from(transformer, refused):
    said = refused("train", *transformer, "--risk", 0.5)
    assert "--risk: expected with --start-from" in said and "Received: --risk 0.5" in said


@pytest.mark.slow
def test_cut_texts_are_counted_once(files, tmp_path, capsys):
    options = ["--max-length", "5", "--epochs", "2", "--output", str(tmp_path / "model")]
    assert main(["train", *files.options, *options]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "truncated" in line]
    # sources and targets are cut alike here, so one line says both; the two epochs add none
    assert warned == [
        "keras-attention: warning: 200 of 200 texts have more than 4 tokens and were truncated."
    ]


def test_training_starts_from_a_trained_model(model, files, tmp_path):
    options = ["--start-from", model, "--epochs", "1", "--output", str(tmp_path / "more")]
    assert main(["train", *files.options, *options, "--learning-rate", "1e-9"]) == 0
    before, after = (Translator.load(folder) for folder in (model, tmp_path / "more"))
    assert after.source_tokenizer.vocabulary == before.source_tokenizer.vocabulary
    for old, new in zip(before.model.weights, after.model.weights, strict=True):
        np.testing.assert_allclose(old, new, atol=1e-5)


def test_a_trained_model_is_not_overwritten(model, files, refused):
    before = os.listdir(model)
    assert "which holds a trained model" in refused("train", *files.options, "--output", model)
    assert os.listdir(model) == before


def test_a_folder_of_something_else_is_not_overwritten(files, tmp_path, refused):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "holds something else" in refused("train", *files.options, "--output", tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_wrong_files(files, tmp_path, refused):
    def train(*options):
        return refused("train", *files.options, "--output", tmp_path / "model", *options)

    missing, short, broken, empty = (tmp_path / name for name in ("no", "short", "broken", "empty"))
    short.write_text("one line\n")
    broken.write_bytes(b"fine\n\xff\xfe\n")
    empty.write_text("")
    assert f"Expected the path of a text file. Received: '{missing}'" in train("--source", missing)
    assert f"Line 2 of '{files.target}' has no partner" in train("--source", short)
    assert f"Expected UTF-8 text in '{broken}', line 2, byte 1" in train("--target", broken)
    assert "empty" in train("--valid-source", empty, "--valid-target", empty)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "option, value",
    [
        ("--units", "0"),
        ("--epochs", "-1"),
        ("--batch-size", "many"),
        ("--dropout", "1"),
        ("--learning-rate", "0"),
        ("--label-smoothing", "-0.1"),
        ("--average", "0"),
        ("--bleu-tokenize", "13b"),
        ("--seed", "x"),
    ],
)
def test_wrong_numbers(option, value, files, tmp_path, refused):
    options = [*files.options, "--output", tmp_path / "model", option, value]
    said = refused("train", *options)
    assert option in said or "`tokenize`" in said
    assert repr(value) in said


def test_wrong_sizes(files, tmp_path, refused):
    options = [*files.options, "--output", tmp_path / "model"]
    assert "Received: vocabulary_size=3" in refused("train", *options, "--vocabulary", 3)
    assert "Received: units=15" in refused("train", *options, "--units", 15)


@pytest.mark.slow
def test_ctrl_c_leaves_a_model_and_the_same_command_goes_on(files, tmp_path, refused):
    folder, log = tmp_path / "model", tmp_path / "log"
    options = [*files.options, "--output", str(folder), "--epochs", "30"]
    command = [sys.executable, "-m", "keras_attention", "train", *options]

    def stop_in_epoch(number):
        with open(log, "w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)
            while f"Epoch {number}/" not in log.read_text():
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        assert process.returncode == 130, said
        assert "Traceback" not in said
        return log.read_text(), said

    _, said = stop_in_epoch(3)
    assert f"stopped. {folder} holds the best model so far. The same command goes on" in said
    best = json.loads((folder / "training.json").read_text())
    assert isinstance(Translator.load(folder)("the dog is big ."), str)

    printed, _ = stop_in_epoch(5)
    assert "Epoch 2/30" not in printed
    assert json.loads((folder / "training.json").read_text())["val_bleu"] >= best["val_bleu"]

    assert "Received: other shapes of the weights" in refused("train", *options, "--units", "32")
    assert "Received: other epochs, seed" in refused(
        "train", *options, "--epochs", "40", "--seed", "1"
    )


@pytest.mark.slow
def test_the_seed_decides(files, trained, tmp_path):
    again = tmp_path / "again"
    assert main(["train", *files.options, "--output", str(again), "--epochs", "1"]) == 0
    weights = [Translator.load(folder).model.get_weights() for folder in (trained[0], again)]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)
