"""Export of a translator of OPUS-MT size with random weights.

Options: those of `generation.random_transformer`, and sentences, num_beams, tokens, format,
weights.
"""

import tempfile
from pathlib import Path

import numpy as np

from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer
from steps.generation import endless_strategy, random_transformer

FIRST_CHARACTER = 0x4E00  # of a block with more characters than the vocabulary


def export(options):
    """Returns a function that exports the translator and verifies the export."""
    characters = [chr(FIRST_CHARACTER + i) for i in range(options.vocabulary - 4)]
    tokenizer = CharacterTokenizer.train(["".join(characters)])
    task = Translator(
        random_transformer(options),
        tokenizer,
        tokenizer,
        endless_strategy(options.num_beams, options.tokens),
        options.source_length,
    )
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, options.source_length, options.sentences)
    texts = ["".join(rng.choice(characters, n)) for n in lengths]
    weights = {} if options.format == "saved_model" else {"weights": options.weights}

    def run():
        with tempfile.TemporaryDirectory() as scratch:
            task.export(Path(scratch, "export"), options.format, texts, **weights)

    return run
