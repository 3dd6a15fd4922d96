"""What a request may ask for is what a strategy with these options finds."""

import numpy as np
import pytest

from keras_attention.export import ExportError
from keras_attention.export.option_signatures import check_options
from keras_attention.export.saved_model.c_api import Session
from keras_attention.export.tflite.writer import LiteRT
from keras_attention.generation import BeamSearch, Sampling
from keras_attention.models import transformer

TEXTS = ["bcade", "deed abba", "ab"]


@pytest.fixture(scope="module")
def session(served):
    with Session(served / "1") as session:
        yield session


def answers(task, **options):
    """What a strategy with these options answers, texts and scores by row."""
    found = task.model.generate(task.encode(TEXTS), task.strategy.replace(**options))
    texts = task.written(None, found.ids).numpy()
    return texts.tolist(), np.asarray(found.scores)


def test_each_row_has_its_own(session, translator):
    given = {"num_beams": [2, 3, 3], "max_new_tokens": [9, 9, 2]}
    found = session.run("with_options", {"text": TEXTS, **given})
    for row, (width, length) in enumerate(zip(*given.values(), strict=True)):
        texts, scores = answers(translator, num_beams=width, max_new_tokens=length)
        assert found["text"][row].tolist() == texts[row]
        np.testing.assert_allclose(found["score"][row], scores[row], rtol=1e-5)
    narrow, wide = (answers(translator, num_beams=width)[1] for width in (2, 3))
    assert not np.allclose(narrow, wide)  # or nothing was tested


@pytest.mark.parametrize("given", [{}, {"max_new_tokens": [3]}])
def test_what_is_not_given_is_the_strategys(session, translator, given):
    texts, scores = answers(translator, **{name: value for name, (value,) in given.items()})
    found = session.run("with_options", {"text": TEXTS, **given})
    assert found["text"].tolist() == texts
    np.testing.assert_allclose(found["score"], scores, rtol=1e-5)
    found = session.run("ids_with_options", {"source": translator.encode(TEXTS), **given})
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-5)
    defaults = session.signatures["with_options"].defaults
    assert defaults == {"num_beams": [3], "max_new_tokens": [9]}


def test_what_is_no_option_is_refused(session):
    with pytest.raises(
        ValueError, match=r"the keys \['max_new_tokens', 'num_beams', 'text'\]. Received"
    ):
        session.run("with_options", {"text": TEXTS, "temperature": [1.0]})


@pytest.fixture(scope="module")
def sampled(make_translator, tmp_path_factory):
    """A translator that draws, and its TFLite file."""
    task = make_translator(Sampling(seed=5, num_return_sequences=2, max_new_tokens=9))
    folder = tmp_path_factory.mktemp("phone") / "small"
    task.export(folder, "tflite", TEXTS, options=True)
    return task, LiteRT(folder / "model.tflite")


def test_a_phone_draws_anew_by_a_new_seed(sampled):
    task, lite = sampled
    source, expected = task.encode(TEXTS), []
    for seed, temperature in ((5, 1.0), (-9, 1.0), (-9, 0.5)):
        given = {"seed": seed + np.arange(3), "temperature": np.full(3, temperature)}
        given["max_new_tokens"] = np.full(3, 9)
        given = {name: x.astype(task.strategy.options()[name].dtype) for name, x in given.items()}
        found = lite.call("with_options", source, **given)
        strategy = task.strategy.replace(seed=seed, temperature=temperature)
        expected.append(np.asarray(task.model.generate(source, strategy).ids))
        np.testing.assert_array_equal(found["ids"], expected[-1])
    assert len({x.tobytes() for x in expected}) == 3


def test_a_file_whose_options_do_nothing_else_is_refused(sampled):
    task, lite = sampled

    def call(signature, source, **options):
        options = {**options, "seed": options["seed"] + 1} if options else {}
        return lite.call(signature, source, **options)

    check_options(task, lite.call, [TEXTS], 1e-4)
    with pytest.raises(ExportError, match="Expected with_options to say what serving_default says"):
        check_options(task, call, [TEXTS], 1e-4)


def test_what_does_not_generate_has_none(make_labeler, tmp_path):
    task = make_labeler("label", ["a", "b"])
    with pytest.raises(ValueError, match="options: expected of a task that generates. Received"):
        task.export(tmp_path / "new", "tflite", ["ab"], options=True)
    path = task.export(tmp_path / "served", "saved_model", ["ab"])["path"]
    with Session(path) as session:
        assert set(session.signatures) == {"serving_default", "details", "ids"}


@pytest.mark.slow
def test_a_transformer_has_them_too(make_translator, tmp_path):
    def small(source, target):
        sizes = {"num_layers": 2, "hidden_dim": 16, "intermediate_dim": 12, "num_heads": 4}
        return transformer(source, target, size="tiny", **sizes)

    task = make_translator(BeamSearch(3, num_return_sequences=2, max_new_tokens=9), build=small)
    task.export(tmp_path / "phone", "tflite", TEXTS, options=True)
    lite = LiteRT(tmp_path / "phone" / "model.tflite")
    given = {
        "num_beams": np.array([2, 3, 2], "int32"),
        "max_new_tokens": np.array([9, 9, 4], "int32"),
    }
    found = lite.call("with_options", task.encode(TEXTS), **given)
    for row, (width, length) in enumerate(zip(*given.values(), strict=True)):
        _, scores = answers(task, num_beams=int(width), max_new_tokens=int(length))
        np.testing.assert_allclose(found["scores"][row], scores[row], rtol=1e-5)
