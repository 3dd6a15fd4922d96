"""A small translator with loud random weights: its answers differ from text to text."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_attention.generation import BeamSearch, Strategy
from keras_attention.models import seq2seq
from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer

SENTENCES = ["a", "bcade", "deed abba", "äx", "cab cab cab cab"]


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
def sentences() -> list[str]:
    return SENTENCES


@pytest.fixture(scope="session")
def translator() -> Translator:
    keras.utils.set_random_seed(0)
    return small_translator()


@pytest.fixture(scope="session")
def served(translator, sentences, tmp_path_factory) -> Path:
    """TF Serving's base path of the translator, with one version."""
    folder = tmp_path_factory.mktemp("served") / "ab cd"
    translator.export(folder, "saved_model", sentences)
    return folder
