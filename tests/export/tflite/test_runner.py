"""Interpreters of a TFLite file that several threads run."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import ai_edge_litert.interpreter as litert
import numpy as np
import pytest

from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.tasks import load_exported

SOURCES = [np.array([[4 + n % 5, 5, 4 + n % 3, 2][: 2 + n % 3]], "int32") for n in range(24)]


@pytest.fixture
def opened(monkeypatch):
    """The arguments of all interpreters opened in the test."""
    calls = []

    class Interpreter(litert.Interpreter):
        def __init__(self, **options):
            calls.append(options)
            super().__init__(**options)

    monkeypatch.setattr(litert, "Interpreter", Interpreter)
    return calls


def test_threads_get_the_outputs_of_one_thread(tflite):
    expected = [TFLiteRunner(tflite.folder)(source) for source in SOURCES]
    runner = TFLiteRunner(tflite.folder)
    with ThreadPoolExecutor(3) as pool:
        received = list(pool.map(runner, SOURCES))
    for ours, theirs in zip(received, expected, strict=True):
        np.testing.assert_array_equal(ours["ids"], theirs["ids"])
        np.testing.assert_array_equal(ours["scores"], theirs["scores"])
    assert len({output["ids"].tobytes() for output in expected}) > 1


def test_calls_at_the_same_time_have_an_interpreter_each(tflite, opened, monkeypatch):
    runner = TFLiteRunner(tflite.folder)
    both_run = threading.Barrier(2, timeout=60)
    used = []

    def get_signature_runner(self, name):
        used.append(self)
        both_run.wait()
        return get(self, name)

    get = litert.Interpreter.get_signature_runner
    monkeypatch.setattr(litert.Interpreter, "get_signature_runner", get_signature_runner)
    for _ in range(2):  # the second time with the same interpreters, in other threads
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(runner, SOURCES[:2]))
    assert len(opened) == 2 and all(each["num_threads"] == 1 for each in opened)
    assert set(used[:2]) == set(used[2:]) and len(set(used)) == 2


def test_an_interpreter_whose_call_failed_is_used_again(tflite, opened):
    runner = TFLiteRunner(tflite.folder)
    expected = runner(SOURCES[0])["ids"]
    with pytest.raises(ValueError, match="invalid literal"):
        runner([["x"]])
    np.testing.assert_array_equal(runner(SOURCES[0])["ids"], expected)
    assert len(opened) == 1


def test_a_loaded_task_has_a_worker_for_each_core(tflite, translator):
    task = load_exported(tflite.folder)
    assert task.runner.default_workers == os.cpu_count()
    assert translator.runner.default_workers == 1
    texts = ["bca", "", "x", "deed cab", "ab", "c"]
    assert task(texts) == translator(texts)
