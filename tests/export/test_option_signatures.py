"""Signatures with options return what a strategy with these options returns."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import convert, model_inputs, write_saved_model
from keras_attention.export import ExportError
from keras_attention.export.saved_model.c_api import Session
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.verification.compare import check_consistent
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.models import transformer

pytestmark = pytest.mark.slow

DTYPES = {
    "source": "int32",
    "seed": "int32",
    "max_new_tokens": "int32",
    "temperature": "float32",
}
TEXTS = ["bcade", "deed abba", "ab"]


@pytest.fixture(scope="module")
def session(saved_model):
    with Session(saved_model.folder / "1") as session:
        yield session


def hypotheses(task, **options):
    """Returns texts and scores by row of a strategy with these options."""
    batch = task.preprocessor(TEXTS)
    outputs = task.model.generate(batch.model_inputs, task.strategy.replace(**options))
    texts = task.postprocessor.texts(outputs.ids, batch)
    return [[text.encode() for text in row] for row in texts], np.asarray(outputs.scores)


def test_each_row_has_its_own_options(session, translator):
    options = {"num_beams": [2, 3, 3], "max_new_tokens": [9, 9, 2]}
    outputs = session.run("with_options", {"text": TEXTS, **options})
    for row, (num_beams, length) in enumerate(zip(*options.values(), strict=True)):
        texts, scores = hypotheses(translator, num_beams=num_beams, max_new_tokens=length)
        assert outputs["text"][row].tolist() == texts[row]
        np.testing.assert_allclose(outputs["score"][row], scores[row], rtol=1e-5)
    narrow, wide = (hypotheses(translator, num_beams=beams)[1] for beams in (2, 3))
    assert not np.allclose(narrow, wide)  # else the test would show nothing


@pytest.mark.parametrize("options", [{}, {"max_new_tokens": [3]}])
def test_omitted_options_are_those_of_the_strategy(session, translator, options):
    texts, scores = hypotheses(translator, **{name: value for name, (value,) in options.items()})
    outputs = session.run("with_options", {"text": TEXTS, **options})
    assert outputs["text"].tolist() == texts
    np.testing.assert_allclose(outputs["score"], scores, rtol=1e-5)
    source = model_inputs(translator, TEXTS)
    outputs = session.run("ids_with_options", {"source": source, **options})
    np.testing.assert_allclose(outputs["scores"], scores, rtol=1e-5)
    defaults = session.signatures["with_options"].defaults
    assert defaults == {"num_beams": [3], "max_new_tokens": [9]}


def test_an_unknown_option_raises(session):
    with pytest.raises(
        ValueError, match=r"the keys \['max_new_tokens', 'num_beams', 'text'\]. Received"
    ):
        session.run("with_options", {"text": TEXTS, "temperature": [1.0]})


@pytest.fixture(scope="module")
def sampling(make_translator, tmp_path_factory):
    """A translator with random sampling, and its TFLite file."""
    strategy = Sampling(seed=5, num_return_sequences=2, max_new_tokens=9)
    task = make_translator(strategy)
    file = tmp_path_factory.mktemp("phone") / "model.tflite"
    file.write_bytes(convert(task, options=True))
    return task, TFLiteRunner(file)


def test_tflite_samples_by_seed_and_temperature(sampling):
    task, runner = sampling
    source, expected = model_inputs(task, TEXTS), []
    for seed, temperature in ((5, 1.0), (-9, 1.0), (-9, 0.5)):
        options = {"seed": seed + np.arange(3), "temperature": np.full(3, temperature)}
        options["max_new_tokens"] = np.full(3, 9)
        outputs = runner.call("with_options", {"source": source, **options})
        strategy = task.strategy.replace(seed=seed, temperature=temperature)
        expected.append(np.asarray(task.model.generate(source, strategy).ids))
        np.testing.assert_array_equal(outputs["ids"], expected[-1])
    assert len({x.tobytes() for x in expected}) == 3


def test_options_out_of_range_are_clipped_and_temperature_0_is_greedy(sampling, tmp_path):
    task, runner = sampling
    source = model_inputs(task, TEXTS)
    greedy = np.asarray(task.model.generate(source, GreedySearch(max_new_tokens=9)).ids)
    options = {"seed": np.arange(3), "max_new_tokens": np.array([9, 999, 9])}
    options["temperature"] = np.array([0.0, -1.0, np.nan])
    outputs = runner.call("with_options", {"source": source, **options})
    for sequence in range(2):
        np.testing.assert_array_equal(outputs["ids"][:, sequence], greedy[:, 0])
    shortest = {**options, "max_new_tokens": np.array([0, -5, 1])}
    outputs = runner.call("with_options", {"source": source, **shortest})
    np.testing.assert_array_equal(outputs["ids"][:, 0, 0], greedy[:, 0, 0])
    assert not outputs["ids"][:, :, 1:].any()

    write_saved_model(task, tmp_path)
    signature = tf.saved_model.load(str(tmp_path)).signatures["ids_with_options"]
    inputs = {"source": source, **options}
    outputs = signature(**{name: tf.constant(x, DTYPES[name]) for name, x in inputs.items()})
    for sequence in range(2):
        np.testing.assert_array_equal(outputs["ids"][:, sequence], greedy[:, 0])


def test_default_options_must_change_nothing(sampling):
    task, runner = sampling
    signatures = task.signatures("tflite", options=True)
    batch = task.preprocessor(TEXTS)
    source = {"source": np.asarray(batch.model_inputs)}
    options = task.strategy.options(len(TEXTS))
    default = runner.call("serving_default", source)
    repeated = runner.call("with_options", {**source, **options})
    check_consistent(signatures, {"serving_default": default, "with_options": repeated}, batch)
    other = runner.call("with_options", {**source, **options, "seed": options["seed"] + 1})
    with pytest.raises(ExportError, match="`with_options` must return what `serving_default`"):
        check_consistent(signatures, {"serving_default": default, "with_options": other}, batch)


def test_a_classifier_has_no_options(make_labeler, tmp_path):
    task = make_labeler("label", ["a", "b"])
    with pytest.raises(ValueError, match="`options` is for tasks that generate text. Received"):
        task.export(tmp_path / "new", "tflite", ["ab"], options=True)
    write_saved_model(task, tmp_path / "served")
    with Session(tmp_path / "served") as session:
        assert set(session.signatures) == {"serving_default", "details", "ids"}


def test_a_transformer_has_them_too(make_translator, tmp_path):
    def small(source, target):
        sizes = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 12, "num_heads": 4}
        return transformer(source, target, size="tiny", **sizes)

    strategy = BeamSearch(3, num_return_sequences=2, max_new_tokens=9)
    task = make_translator(strategy, build=small)
    task.export(tmp_path / "phone", "tflite", TEXTS, options=True)
    runner = TFLiteRunner(tmp_path / "phone")
    options = {"num_beams": np.array([2, 3, 2]), "max_new_tokens": np.array([9, 9, 4])}
    outputs = runner.call("with_options", {"source": model_inputs(task, TEXTS), **options})
    for row, (num_beams, length) in enumerate(zip(*options.values(), strict=True)):
        _, scores = hypotheses(task, num_beams=int(num_beams), max_new_tokens=int(length))
        # Each token's log-probability is off by about 1e-7, also if it is near 0.
        np.testing.assert_allclose(outputs["scores"][row], scores[row], rtol=1e-5, atol=1e-6)
