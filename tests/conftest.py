"""A small classifier or tagger with loud random weights, for the tests of tasks and exports."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest


def small_labeler(
    kind: str,
    labels: Sequence[str],
    letters: str = "abcde ä",
    seed: int = 0,
    scale: float = 0.8,
    **options,
):
    # Here, since tasks import TensorFlow, which the tests of other backends do without.
    from keras_attention.models import classifier, tagger
    from keras_attention.tasks import TextClassifier, TextTagger
    from keras_attention.text import CharacterTokenizer

    build, task = {"label": (classifier, TextClassifier), "tags": (tagger, TextTagger)}[kind]
    tokenizer = CharacterTokenizer.train([letters])
    sizes = {"num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2}
    options = {**sizes, **options}
    if "encoder" in options:
        options = {"encoder": options["encoder"]}
    model = build(tokenizer.vocabulary_size, len(labels), **options)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, scale, weight.shape))
    return task(model, tokenizer, labels, 12)


@pytest.fixture(scope="session")
def make_labeler() -> Callable:
    return small_labeler
