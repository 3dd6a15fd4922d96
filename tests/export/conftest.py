"""Small translators with large random weights, so that outputs differ, and exports of one."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

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


@pytest.fixture(scope="session")
def make_translator() -> Callable[..., Translator]:
    return small_translator


@pytest.fixture(scope="session")
def samples() -> list[str]:
    return SAMPLES


@pytest.fixture(scope="session")
def translator() -> Translator:
    keras.utils.set_random_seed(0)
    return small_translator()


@pytest.fixture(scope="session")
def saved_model(translator, samples, tmp_path_factory) -> Export:
    """TF Serving's base path of the translator, with one version. Tests must not change it."""
    folder = tmp_path_factory.mktemp("served") / "ab cd"
    return Export(folder, translator.export(folder, "saved_model", samples))


@pytest.fixture(scope="session")
def tflite(translator, samples, tmp_path_factory) -> Export:
    """The translator's TFLite file with step signatures. Tests must not change it."""
    folder = tmp_path_factory.mktemp("phone") / "small"
    return Export(folder, translator.export(folder, "tflite", samples, steps=True))


@pytest.fixture
def different_model(monkeypatch) -> Callable[..., contextlib.AbstractContextManager]:
    """A context in which exports of one task write the graphs of another task."""

    @contextlib.contextmanager
    def exporting(other) -> Iterator[None]:
        from keras_attention.tasks import signatures

        build = signatures.list_signatures
        with monkeypatch.context() as patch:
            patch.setattr(
                signatures, "list_signatures", lambda task, *args, **kw: build(other, *args, **kw)
            )
            yield

    return exporting
