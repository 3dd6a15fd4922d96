"""Exports of `encode` and `decode` alone: contents, precision, the loaded task, and errors."""

import json

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from helpers import model_inputs
from keras_attention.export import ExportError, verify
from keras_attention.export.tflite.flatbuffer import builtin_operator, read_model
from keras_attention.export.tflite.metadata import min_runtime_version
from keras_attention.export.tflite.step_runner import StepRunner
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.images.preprocessors import image_bytes
from keras_attention.layers import ResidualCNN
from keras_attention.models import captioner, causal_lm, transformer
from keras_attention.tasks import Captioner, TextGenerator, load_exported
from keras_attention.text import CharacterTokenizer

pytestmark = pytest.mark.slow

SAMPLES = ["a", "bcade", "deed abba"]
INTEGERS = {"full_int8": "INT8", "full_int16": "INT16"}


def small_transformer(source, target):
    return transformer(
        source, target, size="tiny", num_layers=2, hidden_dim=16, intermediate_dim=12, num_heads=4
    )


@pytest.fixture(scope="module")
def task(make_translator):
    """A Transformer with small weights, so that activations have no outliers."""
    task = make_translator(BeamSearch(2, max_new_tokens=9), build=small_transformer)
    for weight in task.model.trainable_weights:
        weight.assign(weight / 4)
    return task


@pytest.fixture(scope="module")
def exports(task, tmp_path_factory):
    """Folders and reports by precision."""
    folder = tmp_path_factory.mktemp("steps")
    options = {"samples": SAMPLES, "static": (2, 12)}
    reports = {"float32": task.export(folder / "float32", "tflite_steps", **options)}
    for weights in INTEGERS:
        reports[weights] = task.export(
            folder / weights, "tflite_steps", weights=weights, allow_loss=True, **options
        )
    return folder, reports


def test_folder_and_report(exports):
    folder, reports = exports
    assert sorted(path.name for path in (folder / "float32").iterdir()) == [
        "export.json",
        "samples.json",
        "source",
        "steps.tflite",
        "target",
        "verification.json",
    ]
    report = reports["float32"]
    # each sample alone and in batches, with an empty and a long one
    assert report["agreement"] == {"compared": 10, "equal": 10}
    assert report["compiled_model_agreement"] == {"compared": 5, "equal": 5}
    assert (report["format"], report["static_shape"]) == ("tflite_steps", [2, 12])
    about = json.loads((folder / "float32" / "export.json").read_text(encoding="utf-8"))
    assert (about["export"], about["max_new_tokens"]) == ("tflite_steps", 9)
    assert about["strategy"].startswith("GreedySearch(max_new_tokens=9,")


def test_loaded_export_returns_the_models_greedy_search(exports, task):
    loaded = load_exported(exports[0] / "float32")
    texts = [*SAMPLES, "", "cab"]
    source = model_inputs(task, texts)
    expected = task.model.generate(source, GreedySearch(9))
    received = loaded.runner(source)
    np.testing.assert_array_equal(received["ids"], np.asarray(expected.ids))
    expected_texts = task.target_tokenizer.detokenize(received["ids"][:, 0]).numpy()
    assert loaded(texts) == [text.decode() for text in expected_texts]
    with pytest.raises(ValueError, match="Attention weights need the Keras model"):
        loaded.runner(source, details=True)


def test_scores_are_the_log_probabilities_among_the_possible_tokens(exports, task):
    source = model_inputs(task, ["bcade"])
    received = StepRunner(exports[0] / "float32")(source)
    ids = received["ids"][0]
    target = np.pad(ids[:, :-1], ((0, 0), (1, 0)), constant_values=1)  # START first
    logits = np.asarray(task.model({"source": source, "target": target}), "float64")[0]
    logits[:, :2] = -np.inf  # PAD and START
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = sum(log_probs[i, id] for i, id in enumerate(ids[0]) if id)
    np.testing.assert_allclose(received["scores"], [[expected]], rtol=1e-5)


def test_end_is_forced(make_translator, tmp_path):
    task = make_translator(GreedySearch(3, force_end=True))  # an RNN
    report = task.export(tmp_path / "new", "tflite_steps", SAMPLES, static=(1, 12))
    assert report["agreement"]["compared"] == report["agreement"]["equal"] == 5
    ids = load_exported(tmp_path / "new").runner(model_inputs(task, SAMPLES))["ids"]
    np.testing.assert_array_equal(ids, task.runner(model_inputs(task, SAMPLES))["ids"])
    assert (ids.max(axis=-1) > 2).all() and set(ids[..., 2].ravel()) <= {0, 2}


def text_generator():
    tokenizer = CharacterTokenizer.train(["abcde"])
    sizes = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 24, "num_heads": 2}
    model = causal_lm(tokenizer.vocabulary_size, size="tiny", **sizes)
    return TextGenerator(model, tokenizer, GreedySearch(6), 8), SAMPLES, (2, 8)


def image_captioner():
    tokenizer = CharacterTokenizer.train(["abcde"])
    backbone = ResidualCNN((8, 12))
    model = captioner(tokenizer.vocabulary_size, (16, 24), backbone=backbone, hidden_dim=8)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), "uint8")
    return Captioner(model, tokenizer, GreedySearch(6)), [image_bytes(x) for x in pixels], (1,)


@pytest.mark.parametrize("family", [text_generator, image_captioner])
def test_other_tasks(family, tmp_path):
    task, samples, static = family()
    report = task.export(tmp_path / "new", "tflite_steps", samples, static=static)
    assert report["agreement"]["equal"] == report["agreement"]["compared"] > len(samples)
    assert load_exported(tmp_path / "new")(samples) == task(samples)


@pytest.mark.parametrize("weights", INTEGERS)
def test_products_are_computed_in_integers(exports, weights):
    model = read_model((exports[0] / weights / "steps.tflite").read_bytes())
    products = (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.BATCH_MATMUL)
    activations = getattr(schema.TensorType, INTEGERS[weights])
    assert len(model.subgraphs) == 2
    for graph in model.subgraphs:
        types = [
            (graph.tensors[x.inputs[0]].type, graph.tensors[x.inputs[1]].type)
            for x in graph.operators
            if builtin_operator(model, x) in products
        ]
        assert len(types) > 10
        assert set(types) == {(activations, schema.TensorType.INT8), (activations, activations)}


@pytest.mark.parametrize(("weights", "tolerance"), [("full_int8", 0.2), ("full_int16", 0.02)])
def test_logits_are_near_the_models(exports, task, weights, tolerance):
    source = model_inputs(task, SAMPLES[1:])
    ids = np.asarray(task.model.generate(source, GreedySearch(9)).ids)[:, 0]
    target = np.pad(ids[:, :-1], ((0, 0), (1, 0)), constant_values=1)  # START first
    expected = np.asarray(task.model({"source": source, "target": target}))[..., 2:]
    loop = StepRunner(exports[0] / weights)._loop
    source = np.pad(source, ((0, 0), (0, 12 - source.shape[1])))
    tensors = {**loop.zeros, **loop.call("encode", {"source": source})}
    for position in range(9):
        step = {"ids": target[:, position], "position": np.array(position)}
        outputs = loop.call("decode", {**tensors, **step})
        difference = outputs.pop("logits")[:, 2:] - expected[:, position]
        assert 0 < np.abs(difference).max() < tolerance * np.abs(expected).max()
        tensors |= outputs


def test_runtime_is_new_enough_for_activations_of_16_bits(exports):
    """LiteRT's runtime_version.cc: DYNAMIC_UPDATE_SLICE of int16, version 4, needs 2.20."""
    folder, _ = exports
    files = {x: read_model((folder / x / "steps.tflite").read_bytes()) for x in INTEGERS}
    assert min_runtime_version(files["full_int16"]) == "2.20.0"
    assert min_runtime_version(files["full_int8"]) == "2.9.0"


def test_verified_again(exports):
    for weights in exports[1]:
        agreement = verify(exports[0] / weights)["agreement"]
        assert agreement["compared"] == agreement["equal"] == 5


def test_another_model_disagrees(exports, task, make_translator, tmp_path, monkeypatch):
    from keras_attention.export.tflite import step_writer

    file = (exports[0] / "float32" / "steps.tflite").read_bytes()
    monkeypatch.setattr(step_writer, "write_file", lambda path, *args: path.write_bytes(file))
    other = make_translator(GreedySearch(9), seed=5, build=small_transformer)
    with pytest.raises(ExportError, match=r"greedy search generates for ids \[.*\]: \[.*\]"):
        other.export(tmp_path / "new", "tflite_steps", SAMPLES, static=(2, 12))
    assert list(tmp_path.iterdir()) == []


def test_invalid_options_raise(task, make_translator, make_labeler, tmp_path):
    static = {"static": (1, 12)}
    recurrent = make_translator(GreedySearch(9))
    limited = make_translator(GreedySearch(9, length_ratio=2.0))
    label = make_labeler("label", labels=["eins", "zwei"])
    for each, options, message in (
        (task, {}, "needs `static`.* Received: static=None"),
        (label, static, "for tasks that generate text. Received: a TextClassifier"),
        (limited, static, "length of the source. Received: strategy: length_ratio=2.0"),
        (task, {**static, "weights": "int7"}, "Received: weights='int7'"),
        (
            recurrent,
            {**static, "weights": "full_int16"},
            "must not be 'full_int16' for signatures with a loop.* for a Translator",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            each.export(tmp_path / "new", "tflite_steps", SAMPLES, **options)
    assert list(tmp_path.iterdir()) == []
