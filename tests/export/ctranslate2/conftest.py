"""Tasks with small Transformers, and an export of one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exports import small_translator
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import causal_lm
from keras_attention.tasks import TextGenerator
from keras_attention.text import CharacterTokenizer
from small_transformers import SIZES, build_transformer, fill


@pytest.fixture(scope="session")
def small_transformer() -> Callable:
    """Returns a translator with a Transformer, `small_transformer(strategy, **options)`."""

    def make(strategy: Strategy | None = None, **options: Any):
        strategy = strategy or GreedySearch(max_new_tokens=9)
        return small_translator(strategy, build=build_transformer, **options)

    return make


@pytest.fixture(scope="session")
def small_generator() -> TextGenerator:
    tokenizer = CharacterTokenizer.train(["abcde ä"])
    model = fill(causal_lm(tokenizer.vocabulary_size, **{**SIZES, "num_layers": 1}))
    return TextGenerator(model, tokenizer, GreedySearch(max_new_tokens=40), 12)


@pytest.fixture(scope="session")
def written(small_transformer, samples, tmp_path_factory) -> tuple[Path, dict]:
    """An export of the translator and its report. Tests must not change it."""
    folder = tmp_path_factory.mktemp("ctranslate2") / "small"
    return folder, small_transformer().export(folder, "ctranslate2", samples)
