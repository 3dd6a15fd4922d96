"""Small tasks with loud random weights, and exports of one, for the tests of tasks and exports."""

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
    # Here, since the tests of layers and models do without tokenizers.
    from keras_attention.models import classifier, tagger
    from keras_attention.tasks import TextClassifier, TextTagger
    from keras_attention.text import CharacterTokenizer

    build, task = {"label": (classifier, TextClassifier), "tags": (tagger, TextTagger)}[kind]
    tokenizer = CharacterTokenizer.train([letters])
    sizes = {"num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2}
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


@pytest.fixture(scope="session")
def make_translator() -> Callable:
    from exports import small_translator

    return small_translator


@pytest.fixture(scope="session")
def samples() -> list[str]:
    """Texts on which the exports of the translator are verified."""
    from exports import SAMPLES

    return SAMPLES


@pytest.fixture(scope="session")
def translator(make_translator):
    """The translator of the exports."""
    import keras

    keras.utils.set_random_seed(0)
    return make_translator()


@pytest.fixture(scope="session")
def saved_model(translator, samples, tmp_path_factory):
    """TF Serving's base path of the translator, with one version. Tests must not change it."""
    from exports import Export, write_once

    def write(folder):
        return translator.export(folder, "saved_model", samples)

    return Export(*write_once(tmp_path_factory, "ab cd", write))


@pytest.fixture(scope="session")
def tflite(translator, samples, tmp_path_factory):
    """The translator's TFLite file with step signatures. Tests must not change it."""
    from exports import Export, write_once

    def write(folder):
        return translator.export(folder, "tflite", samples, steps=True)

    return Export(*write_once(tmp_path_factory, "small", write))
