"""A small translator with large random weights, so that outputs differ, and exports made once."""

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from keras_attention.generation import BeamSearch, Strategy
from keras_attention.models import seq2seq
from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer

SAMPLES = ["a", "bcade", "deed abba", "äx", "cab cab cab cab"]


class Export(NamedTuple):
    """A written export and its report."""

    folder: Path
    report: dict


def small_seq2seq(source: int, target: int, **options) -> keras.Model:
    return seq2seq(source, target, 8, 8, **options)


def small_translator(
    strategy: Strategy | None = None,
    seed: int = 0,
    max_source_length: int = 12,
    build: Callable[..., keras.Model] = small_seq2seq,
    **options,
) -> Translator:
    source, target = CharacterTokenizer.train(["abcde ä"]), CharacterTokenizer.train(["ABCDEFGß"])
    model = build(source.vocabulary_size, target.vocabulary_size, **options)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.8, weight.shape))
    strategy = strategy or BeamSearch(3, num_return_sequences=2, max_new_tokens=9)
    return Translator(model, source, target, strategy, max_source_length)


def write_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, write: Callable[[Path], Any]
) -> tuple[Path, Any]:
    """Writes a folder in one of the processes of pytest-xdist; the others wait for it and read it.

    Args:
        tmp_path_factory: pytest's fixture.
        name: name of the folder.
        write: writes the folder and returns something that JSON holds.

    Returns:
        The folder, which tests must not change, and what `write` returned.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of all processes
    folder, result = root / "shared" / name, root / f"{name}.json"
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            folder.parent.mkdir(exist_ok=True)
            result.write_text(json.dumps(write(folder)), encoding="utf-8")
    return folder, json.loads(result.read_text(encoding="utf-8"))
