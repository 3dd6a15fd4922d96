"""A small trained language model, and an export of it."""

from collections.abc import Callable
from typing import Any

import keras
import pytest

from exports import Export, write_once
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import causal_lm
from keras_attention.tasks import TextGenerator
from keras_attention.text import (
    CharacterTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    packed_batches,
)
from keras_attention.training import MaskedCrossEntropy
from small_transformers import SIZES, fill

LINES = [
    "the cat sat on the mat and slept",
    "the dog ran to the house",
    "a cat saw the dog run",
    "the mat is on the floor of the house",
    "a dog and a cat sat on the floor",
    "the house is big and the dog is small",
    "a café is in the house",
]
SAMPLES = ["the cat", "a dog and", "the house is big and", "The Cafe\u0301", "a cat\nsaw \u00e9t"]


@pytest.fixture(scope="session")
def task():
    """A task that continues the lines, in lower case."""
    keras.utils.set_random_seed(1)
    tokenizer = SentencePieceTokenizer.train(LINES, vocabulary_size=60, lowercase=True)
    model = causal_lm(
        tokenizer.vocabulary_size, num_layers=2, hidden_dim=32, intermediate_dim=64, num_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), MaskedCrossEntropy())
    model.fit(packed_batches(LINES * 20, tokenizer, 64, batch_size=4), epochs=12, verbose=0)
    return TextGenerator(model, tokenizer, GreedySearch(max_new_tokens=24), max_prompt_length=40)


@pytest.fixture(scope="session")
def make_generator() -> Callable[..., TextGenerator]:
    """Returns untrained tasks that do not end texts.

    `make_generator(strategy, tokenizer, **options)`; by default the tokenizer knows the characters
    a to e and spaces.
    """

    def make(
        strategy: Strategy | None = None, tokenizer: Tokenizer | None = None, **options: Any
    ) -> TextGenerator:
        tokenizer = tokenizer or CharacterTokenizer.train(["abcde "])
        model = fill(causal_lm(tokenizer.vocabulary_size, **{**SIZES, "num_layers": 1, **options}))
        return TextGenerator(model, tokenizer, strategy or GreedySearch(max_new_tokens=8), 7)

    return make


@pytest.fixture(scope="session")
def written(task, tmp_path_factory) -> Export:
    """Tests must not change it."""

    def write(folder):
        return task.export(folder, "litert_lm", SAMPLES, prefill_lengths=(4, 12), cache_length=80)

    return Export(*write_once(tmp_path_factory, "small litert_lm", write))
