import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from _keras_attention_cli.parser import parse
from _keras_attention_cli.train import option_name
from helpers import accept_interrupts
from keras_attention.cli import main
from keras_attention.cli.train import training_config
from keras_attention.models.transformer_config import SIZES
from keras_attention.recipes import TrainingConfig, resume_folder
from keras_attention.tasks import Translator

pytestmark = pytest.mark.tensorflow_only


@pytest.mark.slow
def test_output_names_the_data_and_the_folder(trained):
    folder, printed = trained
    parameters = Translator.load(folder).model.count_params()
    assert f"200 pairs; 50 and 50 tokens; {parameters:,} parameters" in printed
    assert f"The best model is in {folder}. Try: keras-attention generate {folder}" in printed
    assert json.loads((folder / "training.json").read_text())["epoch"] == 1
    assert not resume_folder(folder).exists()


@pytest.mark.slow(cases=1)
@pytest.mark.parametrize("tokenizer", ["wordpiece", "characters", "unigram"])
def test_other_tokenizers_and_rnn_options(tokenizer, files, tmp_path, capsys):
    other = f"--tokenizer {tokenizer} --epochs 1 --output {tmp_path / 'model'}"
    model = "--cell lstm --attention luong --input-feeding --decoder-layers 2 --units 8 --lowercase"
    assert main(["train", *files.options, *other.split(), *model.split()]) == 0
    assert "val_bleu" in capsys.readouterr().out
    assert isinstance(Translator.load(tmp_path / "model")("the dog is big ."), str)


@pytest.fixture
def transformer(files, tmp_path, monkeypatch):
    """Options of a small transformer: those of `files` without the sizes of the RNN."""
    small = dataclasses.replace(SIZES["tiny"], num_layers=1, hidden_dim=16, intermediate_dim=16)
    monkeypatch.setitem(SIZES, "tiny", small)
    index = files.options.index("--units")
    assert files.options[index + 2] == "--embedding-dim"
    options = files.options[:index] + files.options[index + 4 :]
    return [*options, "--output", str(tmp_path / "model"), "--model", "transformer"]


@pytest.mark.slow
def test_transformer_with_joint_vocabulary(transformer, tmp_path, capsys):
    options = "--joint-vocabulary --norm post --dropout 0.1 --epochs 2 --average-checkpoints 2"
    more = (
        "--warmup-steps 5 --decay inverse_sqrt --batch-tokens 400 --learning-rate 0.01 --bfloat16"
    )
    assert main(["train", *transformer, *options.split(), *more.split()]) == 0
    printed = capsys.readouterr().out
    assert "200 pairs; 50 and 50 tokens" in printed
    assert "val_bleu of 2 epochs averaged" in printed
    task = Translator.load(tmp_path / "model")
    assert task.source_tokenizer.vocabulary == task.target_tokenizer.vocabulary
    assert {"▁the", "ß"} <= set(task.source_tokenizer.vocabulary)  # of both sides
    shapes = [tuple(weight.shape) for weight in task.model.weights]
    assert shapes.count((50, 16)) == 1  # one embedding, shared with the output layer


@pytest.mark.slow
def test_a_packed_transformer(transformer, tmp_path, capsys, error_of):
    assert "`batch_tokens` at least `max_length`" in error_of("train", *transformer, "--packed")
    index = transformer.index("--batch-size")
    options = "--packed --max-length 40 --batch-tokens 160 --epochs 1"
    assert main(["train", *transformer[:index], *transformer[index + 2 :], *options.split()]) == 0
    assert "200 pairs" in capsys.readouterr().out
    assert Translator.load(tmp_path / "model").model.packed


def test_options_of_another_architecture_are_refused(files, transformer, error_of):
    error = error_of("train", *transformer, "--tie-embeddings")
    assert "`--tie-embeddings` requires `--model rnn`. Received: --model transformer" in error
    error = error_of("train", *transformer, "--model", "rnn", "--size", "tiny")
    assert "`--size` requires `--model transformer`. Received: --model rnn" in error
    error = error_of("train", *transformer, "--model", "rnn", "--packed")
    assert "`--packed` requires `--model transformer`. Received: --model rnn" in error


def test_minimum_risk_requires_a_trained_task(transformer, error_of):
    error = error_of("train", *transformer, "--risk-weight", 0.5)
    assert "`--risk-weight` requires `--start-from`" in error
    assert "Received: --risk-weight 0.5" in error


@pytest.mark.slow
@pytest.mark.filterwarnings("default:.*were truncated:UserWarning")
def test_truncated_texts_are_reported_once(files, tmp_path, capsys):
    options = ["--max-length", "5", "--epochs", "2", "--output", str(tmp_path / "model")]
    assert main(["train", *files.options, *options]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "truncated" in line]
    # sources and targets have equal counts here, which gives one line; epochs add none
    assert warned == [
        "keras-attention: warning: 200 of 200 texts have more than 4 tokens and were truncated."
    ]


@pytest.mark.slow
def test_training_starts_from_a_trained_model(model, files, tmp_path):
    options = ["--start-from", model, "--epochs", "1", "--output", str(tmp_path / "more")]
    assert main(["train", *files.options, *options, "--learning-rate", "1e-9"]) == 0
    before, after = (Translator.load(folder) for folder in (model, tmp_path / "more"))
    assert after.source_tokenizer.vocabulary == before.source_tokenizer.vocabulary
    for old, new in zip(before.model.weights, after.model.weights, strict=True):
        np.testing.assert_allclose(old, new, atol=1e-5)


@pytest.mark.slow
def test_trained_task_is_not_overwritten(model, files, error_of):
    before = os.listdir(model)
    assert "which holds a trained task" in error_of("train", *files.options, "--output", model)
    assert os.listdir(model) == before


def test_unrelated_folder_is_not_overwritten(files, tmp_path, error_of):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "must be new, empty, or contain task.json" in error_of(
        "train", *files.options, "--output", tmp_path
    )
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_invalid_files(files, tmp_path, error_of):
    def train(*options):
        return error_of("train", *files.options, "--output", tmp_path / "model", *options)

    missing, short, broken, empty = (tmp_path / name for name in ("no", "short", "broken", "empty"))
    short.write_text("one line\n")
    broken.write_bytes(b"fine\n\xff\xfe\n")
    empty.write_text("")
    assert f"existing text file. Received: path='{missing}'" in train("--source", missing)
    assert f"1 lines in '{short}', 200 lines in '{files.target}'" in train("--source", short)
    assert f"'{broken}' must be UTF-8. Received: line 2, byte 1" in train("--target", broken)
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
        ("--average-checkpoints", "0"),
        ("--bleu-tokenize", "13b"),
        ("--seed", "x"),
    ],
)
def test_invalid_numbers(option, value, files, tmp_path, error_of):
    options = [*files.options, "--output", tmp_path / "model", option, value]
    error = error_of("train", *options)
    assert option in error or "`tokenize`" in error
    assert repr(value) in error


def test_help_has_the_defaults_of_training_config(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    options = parse("train --source a --valid-source b --output c".split())
    assert training_config(options) == TrainingConfig()
    for field in dataclasses.fields(TrainingConfig):
        if not hasattr(options, field.name):
            continue
        help_text = text.split(f" {option_name(field.name)} ")[-1].split(" --")[0]
        if field.default is None or isinstance(field.default, bool) or field.name == "batch_size":
            assert getattr(options, field.name) is None
        elif field.name != "jit_compile":
            assert f"[{field.default}]" in help_text, field.name


def test_parser_has_the_sizes_of_the_transformer(error_of):
    error = error_of("train", "--size", "huge")
    assert ", ".join(SIZES) in error.replace("'", "")


def test_invalid_sizes(files, tmp_path, error_of):
    options = [*files.options, "--output", tmp_path / "model"]
    assert "Received: vocabulary_size=3" in error_of("train", *options, "--vocabulary-size", 3)
    assert "Received: units=15" in error_of("train", *options, "--units", 15)


@pytest.mark.slow
def test_same_command_resumes_after_ctrl_c(files, tmp_path, error_of):
    folder, log = tmp_path / "model", tmp_path / "log"
    options = [*files.options, "--output", str(folder), "--epochs", "300"]
    command = [sys.executable, "-m", "keras_attention", "train", *options]

    def stop_in_epoch(number):
        with open(log, "w") as out:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=accept_interrupts,
            )
            while f"Epoch {number}/" not in log.read_text():
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            stderr = process.communicate(timeout=60)[1]
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr
        return log.read_text(), stderr

    _, stderr = stop_in_epoch(3)
    left = f"interrupted. {folder} holds the best model so far. The same command resumes after "
    assert f"{left}epoch " in stderr
    best = json.loads((folder / "training.json").read_text())
    assert isinstance(Translator.load(folder)("the dog is big ."), str)

    printed, _ = stop_in_epoch(5)
    assert "Epoch 2/300" not in printed
    assert json.loads((folder / "training.json").read_text())["val_bleu"] >= best["val_bleu"]

    assert "Received: different weight shapes" in error_of("train", *options, "--units", "32")
    assert "Received: different epochs, seed" in error_of(
        "train", *options, "--epochs", "40", "--seed", "1"
    )
    assert "Received: different layers" in error_of("train", *options, "--dropout", "0.1")


@pytest.mark.slow
def test_same_seed_gives_the_same_weights(files, trained, tmp_path):
    again = tmp_path / "again"
    assert main(["train", *files.options, "--output", str(again), "--epochs", "1"]) == 0
    weights = [Translator.load(folder).model.get_weights() for folder in (trained[0], again)]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)
