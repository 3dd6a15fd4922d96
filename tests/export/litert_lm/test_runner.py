"""Loaded exports and LiteRT-LM: the results of greedy search with the model."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from helpers import model_inputs
from keras_attention.export.litert_lm.runner import LiteRTLMRunner
from keras_attention.generation import GreedySearch, Sampling
from keras_attention.tasks import TextGenerator, load_exported
from keras_attention.text import WordPieceTokenizer
from litert_lm_runtime import generate, needs_litert_lm

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]
PROMPTS = [
    "the cat", "A Dog", "the house is", "a cat saw the dog", "the\tmat is\non", "", "x",
    "a cafe\u0301 is", "the dog ran to the house a", " the  floor ",
]  # fmt: skip


def test_loaded_export(written, task):
    loaded = load_exported(written.folder)
    assert isinstance(loaded, TextGenerator)
    assert loaded(PROMPTS) == task(PROMPTS)
    assert loaded.predict([]) == []
    expected, received = (each.runner(model_inputs(task, PROMPTS)) for each in (task, loaded))
    np.testing.assert_array_equal(received["ids"], expected["ids"])
    np.testing.assert_allclose(received["scores"], expected["scores"], rtol=1e-4)
    with pytest.raises(ValueError, match="`strategy` needs the Keras model"):
        loaded.strategy = GreedySearch()
    with pytest.raises(ValueError, match="Attention weights need the Keras model or an export of"):
        loaded.attention("ab")


def test_compiled_model(written, task):
    """Buffers are used again for each call, so short prompts follow long ones."""
    runner = LiteRTLMRunner(written.folder, compiled=True)
    inputs = model_inputs(task, PROMPTS)
    for _ in range(2):
        np.testing.assert_array_equal(runner(inputs)["ids"], task.runner(inputs)["ids"])


def test_tensorflow_is_not_imported(written, task):
    script = (
        "import json, sys; from keras_attention.tasks import load_exported; "
        f"text = load_exported({str(written.folder)!r})('a dog and'); "
        "print(json.dumps([text, 'tensorflow' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [task("a dog and"), False]


def test_prompts_that_do_not_fit(written):
    runner = LiteRTLMRunner(written.folder)
    assert runner(np.full((1, 55), 5))["ids"].shape == (1, 1, 24)
    with pytest.raises(ValueError, match="at most 80 tokens, START included. Received: 57 tokens"):
        runner(np.full((1, 56), 5))


def test_limits_of_the_file_are_checked(written, tmp_path):
    folder = shutil.copytree(written.folder, tmp_path / "changed")
    about = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps({**about, "max_new_tokens": 10**9}))
    with pytest.raises(ValueError, match="`max_new_tokens` must be at most"):
        LiteRTLMRunner(folder)


@needs_litert_lm
def test_litert_lm(written, task):
    """The runtime leaves out the space with which a continuation begins."""
    received = generate(written.folder / "model.litertlm", PROMPTS, 24)
    assert received == [text.removeprefix(" ") for text in task(PROMPTS)]
    assert len(set(received)) > 5


@needs_litert_lm
def test_litert_lm_reads_a_prompt_in_parts(written, task):
    parts = ["a dog and", "a cat sat on", "the"], ["the", "cat"]
    expected = [task(" ".join(each)).removeprefix(" ") for each in parts]
    assert generate(written.folder / "model.litertlm", parts, 24) == expected


@needs_litert_lm
def test_litert_lm_stops_at_the_maximum_length(make_generator, tmp_path):
    """With a prompt of the maximum length, all tokens fit."""
    task = make_generator(GreedySearch(max_new_tokens=29))
    prompts = ["ab", "abcdeab", "e d", ""]
    report = task.export(tmp_path / "new", "litert_lm", prompts)
    assert report["cache_length"] == 37  # a prime, which must not be the number of slots
    received = generate(tmp_path / "new" / "model.litertlm", prompts)
    assert [text[:29] for text in received] == task(prompts)
    assert [len(text) for text in received] == [36 - len(prompt) for prompt in prompts]


@needs_litert_lm
def test_litert_lm_with_wordpiece(make_generator, tmp_path):
    lines = ["The cat sat on the mat, and slept!", "ein großer 漢字 Hund sang singing songs"] * 3
    tokenizer = WordPieceTokenizer.train(lines, 120, lowercase=True)
    task = make_generator(None, tokenizer)
    prompts = ["The cat", "a", "großer 漢字 Hund", "and slept!", "[END] on"]
    report = task.export(tmp_path / "new", "litert_lm", prompts)
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    received = generate(tmp_path / "new" / "model.litertlm", prompts, 8)
    assert received == [text.removeprefix(" ") for text in task(prompts)]


@needs_litert_lm
def test_litert_lm_samples_as_the_file_describes(make_generator, tmp_path):
    prompts, greedy = ["ab", "c", "dead"], make_generator()
    texts = {}
    for temperature in (0.01, 2.0):
        sampling = Sampling(temperature=temperature, max_new_tokens=8)
        make_generator(sampling).export(tmp_path / "new", "litert_lm", prompts)
        texts[temperature] = generate(tmp_path / "new" / "model.litertlm", prompts, 8)
    assert texts[0.01] == greedy(prompts) != texts[2.0]
