"""Exports of a small Transformer, with two tokenizers of characters, and of a language model."""

from collections.abc import Callable
from typing import Any

import pytest

from exports import Export, small_translator, write_once
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import causal_lm
from keras_attention.tasks import TextGenerator
from keras_attention.text import CharacterTokenizer, Tokenizer
from small_transformers import SIZES, build_transformer, fill

PROMPTS = ["ab", "cade bba", "e  d", "abcdabcdabcd", "äa"]


@pytest.fixture(scope="session")
def task():
    return small_translator(GreedySearch(max_new_tokens=9), build=build_transformer)


@pytest.fixture(scope="session")
def written(task, samples, tmp_path_factory) -> Export:
    """Tests must not change it."""

    def write(folder):
        return task.export(folder, "transformers_js", samples)

    return Export(*write_once(tmp_path_factory, "small transformers_js", write))


@pytest.fixture(scope="session")
def make_generator() -> Callable[..., TextGenerator]:
    """Returns untrained tasks: `make_generator(strategy, tokenizer, **options)`.

    By default the tokenizer knows the characters a to e, ä and spaces.
    """

    def make(
        strategy: Strategy | None = None, tokenizer: Tokenizer | None = None, **options: Any
    ) -> TextGenerator:
        tokenizer = tokenizer or CharacterTokenizer.train(["abcde ä"])
        model = fill(causal_lm(tokenizer.vocabulary_size, **{**SIZES, "num_layers": 1, **options}))
        return TextGenerator(model, tokenizer, strategy or GreedySearch(max_new_tokens=9), 10)

    return make


@pytest.fixture(scope="session")
def generator(make_generator) -> TextGenerator:
    return make_generator(num_layers=2, num_heads=4, num_key_value_heads=2)


@pytest.fixture(scope="session")
def written_generator(generator, tmp_path_factory) -> Export:
    """Tests must not change it."""

    def write(folder):
        return generator.export(folder, "transformers_js", PROMPTS)

    return Export(*write_once(tmp_path_factory, "small transformers_js generator", write))
