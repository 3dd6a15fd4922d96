"""Export of a translator of characters with random weights.

Options: those of `generation.random_transformer`, and source_length; of an export also sentences,
num_beams, tokens, format, weights.
"""

import tempfile
from pathlib import Path

import numpy as np

from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer
from steps.generation import endless_strategy, random_transformer

FIRST_CHARACTER = 0x4E00  # of a block with more characters than the vocabulary


def random_translator(options, strategy):
    """Returns the translator and its characters."""
    num_characters = options.vocabulary - 4  # the others are special tokens
    characters = [chr(FIRST_CHARACTER + i) for i in range(num_characters)]
    tokenizer = CharacterTokenizer.train(["".join(characters)])
    model = random_transformer(options)
    return Translator(model, tokenizer, tokenizer, strategy, options.source_length), characters


def export(options):
    """Returns a function that exports the translator and verifies the export."""
    strategy = endless_strategy(options.num_beams, options.tokens)
    task, characters = random_translator(options, strategy)
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, options.source_length, options.sentences)
    texts = ["".join(rng.choice(characters, n)) for n in lengths]
    weights = {} if options.format == "saved_model" else {"weights": options.weights}

    def run():
        with tempfile.TemporaryDirectory() as scratch:
            task.export(Path(scratch, "export"), options.format, texts, **weights)

    return run
