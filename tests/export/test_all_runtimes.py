"""A trained model of each family returns the same words in Keras, TensorFlow's C API and LiteRT."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_attention.export.saved_model import c_api_script
from keras_attention.export.verification.samples import to_json
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.images import captioned_batches
from keras_attention.images.preprocessors import image_bytes
from keras_attention.layers import ResidualCNN
from keras_attention.models import (
    captioner,
    causal_lm,
    classifier,
    seq2seq,
    tagger,
    transformer,
)
from keras_attention.tasks import (
    Captioner,
    GenerationTask,
    TextClassifier,
    TextGenerator,
    TextTagger,
    Translator,
    load_exported,
)
from keras_attention.text import (
    CharacterTokenizer,
    bucketed_batches,
    labeled_batches,
    packed_batches,
    tagged_batches,
)
from keras_attention.training import MaskedCrossEntropy

LIMIT = 12  # tokens
LENGTHS = (1, 7, LIMIT)  # the last includes END
WEIGHTS = ("float32", "float16", "int8", "int4")
LETTERS = "abcdefgh"
ALPHABET = "abcdefghijklmnopqrst"
SIZES = {"num_layers": 2, "hidden_dim": 64, "intermediate_dim": 128, "num_heads": 4, "dropout": 0.0}
LABEL_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
COLORS = {1: 0, 7: 1, LIMIT - 1: 2}  # channel by the length of the caption
RNG = np.random.RandomState(0)


def text(length):
    return "".join(RNG.choice(list(LETTERS), length))


def texts(count=3000):
    return [text(RNG.randint(1, LIMIT)) for _ in range(count)]


def train(model, data, epochs, loss):
    # The rate falls to 0, so that the words are correct for any seed.
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * len(data))
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), loss, weighted_metrics=[])
    model.fit(data, epochs=epochs, verbose=0)


def translator(build, epochs):
    """Translates each letter to its capital."""
    source, target = (
        CharacterTokenizer.train([LETTERS]),
        CharacterTokenizer.train([LETTERS.upper()]),
    )
    model = build(source.vocabulary_size, target.vocabulary_size)
    pairs = [(each, each.upper()) for each in texts()]
    train(model, bucketed_batches(pairs, source, target, 64, LIMIT), epochs, MaskedCrossEntropy())
    task = Translator(model, source, target, BeamSearch(3, max_new_tokens=LIMIT), LIMIT)
    return task, text, str.upper


def rnn():
    return translator(lambda source, target: seq2seq(source, target, 32, 96, dropout=0.0), 24)


def small_transformer():
    sizes = {**SIZES, "size": "tiny", "num_layers": 1, "dropout": 0.1}  # confident also with int4
    return translator(lambda source, target: transformer(source, target, **sizes), 30)


def generator():
    """Continues to the end of the alphabet."""
    tokenizer = CharacterTokenizer.train([ALPHABET])
    model = causal_lm(tokenizer.vocabulary_size, size="tiny", **SIZES)
    data = packed_batches([ALPHABET[i % 20 :] for i in range(2000)], tokenizer, 32, 32)
    train(model, data, 6, MaskedCrossEntropy())

    def prompt(length):
        start = RNG.randint(len(ALPHABET) - length)
        return ALPHABET[start : start + length]

    def rest(prompt):
        return ALPHABET[ALPHABET.index(prompt[-1]) + 1 :][:9]

    return TextGenerator(model, tokenizer, GreedySearch(max_new_tokens=9), LIMIT), prompt, rest


def text_classifier():
    """Detects the letter "a"."""
    tokenizer = CharacterTokenizer.train([LETTERS])
    model = classifier(tokenizer.vocabulary_size, 2, **SIZES)
    examples = texts()
    data = labeled_batches(examples, ["a" in each for each in examples], tokenizer, 64, LIMIT)
    train(model, data, 6, LABEL_LOSS)
    task = TextClassifier(model, tokenizer, ["no", "yes"], LIMIT)
    return task, text, lambda each: "yes" if "a" in each else "no"


def text_tagger():
    """Tags words of one letter as vowels or consonants."""
    tokenizer = CharacterTokenizer.train([LETTERS])
    model = tagger(tokenizer.vocabulary_size, 2, **SIZES)

    data = [(list(each), [letter in "ae" for letter in each]) for each in texts()]
    train(model, tagged_batches(data, tokenizer, 64, LIMIT), 4, LABEL_LOSS)
    task = TextTagger(model, tokenizer, ["consonant", "vowel"], LIMIT)
    return (
        task,
        lambda length: " ".join(text(length)),
        lambda each: [task.labels[letter in "ae"] for letter in each.split()],
    )


def image_captioner():
    """Writes 1, 7 or 11 letters depending on the color."""
    tokenizer = CharacterTokenizer.train([LETTERS])
    captions = {}

    def image(length):
        pixels = RNG.randint(0, 80, (16, 24, 3), "uint8")
        pixels[..., COLORS[length]] += 150
        captions[image_bytes(pixels)] = ("abcd" * LIMIT)[:length]
        return image_bytes(pixels)

    for _ in range(100):
        [image(min(length, LIMIT - 1)) for length in LENGTHS]
    backbone = ResidualCNN((8, 12))
    model = captioner(
        tokenizer.vocabulary_size, (16, 24), backbone=backbone, hidden_dim=32, dropout=0.0
    )
    data = captioned_batches(list(captions.items()), tokenizer, (16, 24), 30, LIMIT)
    train(model, data, 10, MaskedCrossEntropy())
    return Captioner(model, tokenizer, BeamSearch(3, max_new_tokens=LIMIT)), image, captions.get


def words(results):
    """Returns results; of tags the names alone."""
    return [each if isinstance(each, str) else [tag.tag for tag in each] for each in results]


def by_c_api(version, task, inputs, scratch):
    """Returns the results of `serving_default`, run in a process without Python's TensorFlow."""
    calls_file, results_file = scratch / "calls.json", scratch / "results.json"
    name = task.preprocessor.input_name
    calls = [
        {"inputs": {name: each}, "signature": "serving_default", "timed": False} for each in inputs
    ]
    calls_file.write_text(json.dumps(calls, default=to_json))
    command = [sys.executable, "-P", c_api_script.__file__, version, calls_file, results_file]
    subprocess.run(command, check=True)
    outputs = json.loads(results_file.read_text())["outputs"]
    if isinstance(task, TextTagger):
        return [[[tag for tag in row if tag] for row in each["tag"]] for each in outputs]
    name = "label" if isinstance(task, TextClassifier) else "text"
    return [each[name] for each in outputs]


FAMILIES = [small_transformer, rnn, generator, image_captioner, text_classifier, text_tagger]


@pytest.mark.slow
@pytest.mark.exhaustive  # the demo trains a model and verifies its exports in each run
@pytest.mark.parametrize("family", FAMILIES)
def test_all_runtimes_return_the_same_words(family, tmp_path):
    keras.utils.set_random_seed(1)
    RNG.seed(1)
    task, make, correct = family()
    has_end = not isinstance(task, TextGenerator)  # a prompt has no END
    rows = [[make(min(n, LIMIT - has_end)) for _ in range(5)] for n in LENGTHS]
    inputs = [row[:size] for size in (1, 5) for row in rows]
    expected = [[*map(correct, each)] for each in inputs]
    assert [words(task(each)) for each in inputs] == expected

    samples = sum(rows, [])
    version = task.export(tmp_path / "served", "saved_model", samples)["path"]
    assert by_c_api(version, task, inputs, tmp_path) == expected
    generates = isinstance(task, GenerationTask)
    options = {"steps": True, "options": True} if generates else {}
    for weights in (*WEIGHTS, *(() if generates else ("full_int8",))):
        report = task.export(tmp_path / weights, "tflite", samples, weights=weights, **options)
        if weights != "float32":
            metrics = {"exact_match", "bleu"} if generates else {"accuracy"}
            assert set(report["scores"]["export"]) == metrics
        loaded = load_exported(tmp_path / weights)
        assert [words(loaded(each)) for each in inputs] == expected, weights
        options = {}  # the first file, of float32, has all signatures
