"""Padding of batches to static shapes, and exports of static shapes in both APIs of LiteRT."""

import json

import numpy as np
import pytest

from helpers import convert
from keras_attention.export import ExportError, verify
from keras_attention.export.tflite.compiled_model import CompiledModelRunner
from keras_attention.export.tflite.flatbuffer import has_static_shape, read_model
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.tflite.static_shapes import run_in_pieces
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.models import transformer
from keras_attention.tasks import load_exported

SAMPLES = ["a", "bcade", "deed abba", "cab"]


def small_transformer(source, target):
    return transformer(
        source, target, size="tiny", num_layers=1, hidden_dim=16, intermediate_dim=12, num_heads=4
    )


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_batches_are_padded_divided_and_cropped(count):
    shapes = {"source": (2, 4), "seed": (2,)}
    seen = []

    def run(source, seed):
        seen.append(source)
        assert source.shape == (2, 4) and seed.shape == (2,)
        attention = np.broadcast_to(source[:, None, None], (2, 1, 3, 4))
        return {"ids": source[:, :1] + seed[:, None], "attention": attention}

    source = np.arange(3 * count, dtype="int32").reshape(count, 3) + 1
    seed = 100 * np.arange(count, dtype="int32")
    outputs = run_in_pieces(run, {"source": source, "seed": seed}, shapes)
    np.testing.assert_array_equal(outputs["ids"], source[:, :1] + seed[:, None])
    expected = np.broadcast_to(source[:, None, None], (count, 1, 3, 3))
    np.testing.assert_array_equal(outputs["attention"], expected)
    assert len(seen) == max(1, -(-count // 2))
    if count % 2:  # the missing row is a copy, whose generation ends with that of the row
        np.testing.assert_array_equal(seen[-1][0], seen[-1][1])


def test_a_source_longer_than_the_shape_raises():
    with pytest.raises(ValueError, match=r"at most the shape \(1, 2\). Received: \(1, 3\)"):
        run_in_pieces(dict, {"source": np.ones((1, 3))}, {"source": (1, 2)})


@pytest.mark.parametrize("static", [(1,), (1, 0), (2, 13), (1.0, 8), 8, (1, 8, 3)])
def test_invalid_shapes(translator, static):
    with pytest.raises(ValueError, match="`static` must .*Received: static="):
        translator.with_static_inputs(static)


def test_strings_are_refused(translator):
    static = translator.with_static_inputs((1, 8))
    with pytest.raises(ValueError, match=r"`text` must not be .*`source` of shape \(1, 8\)"):
        static.signatures("tflite", text=True)


def test_compiled_model_refuses_free_shapes(tflite):
    assert tflite.report["litert_apis"] == ["Interpreter"]
    with pytest.raises(ValueError, match="`CompiledModel` needs a file of static shapes"):
        CompiledModelRunner(tflite.folder / "model.tflite")


@pytest.fixture(scope="module")
def tagger(make_labeler):
    return make_labeler("tags", ["noun", "verb"])


@pytest.fixture(scope="module")
def tags(tagger, tmp_path_factory):
    """Export of a tagger, whose outputs have a source axis."""
    folder = tmp_path_factory.mktemp("static") / "tags"
    return folder, tagger.export(folder, "tflite", ["ab c", "d"], static=(2, 8))


def assert_no_free_shape(file):
    model = read_model(file)
    free = [
        tensor.name
        for graph in model.subgraphs
        for tensor in graph.tensors
        if not has_static_shape(tensor)
    ]
    assert free == []


@pytest.mark.slow
def test_both_runtimes_agree_with_a_tagger(tagger, tags):
    folder, report = tags
    assert report["litert_apis"] == ["Interpreter", "CompiledModel"]
    assert report["static_shape"] == [2, 8]
    assert max(report["batch_sizes"]) == 2
    compiled = report["compiled_model_agreement"]
    assert compiled["equal"] == compiled["compared"] > 2 * len(report["batch_sizes"])
    assert_no_free_shape((folder / "model.tflite").read_bytes())
    agreement = verify(folder)["agreement"]
    assert agreement["equal"] == agreement["compared"] == 4


def test_a_loaded_export_pads_divides_and_truncates(tagger, tags):
    config = json.loads((tags[0] / "export.json").read_text())
    assert (config["static_shape"], config["max_source_length"]) == ([2, 8], 8)
    exported = load_exported(tags[0])
    texts = ["ab c", "d", "", "e e e", "a ä"]
    for received, expected in zip(exported(texts), tagger(texts), strict=True):
        assert [tag[:2] for tag in received] == [tag[:2] for tag in expected]  # word and tag
        probabilities = [tag.probability for tag in expected]
        assert [tag.probability for tag in received] == pytest.approx(probabilities, abs=1e-5)
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        exported(["abcde abcde"])
    assert exported.predict([]) == []


def test_a_runtime_that_disagrees_leaves_no_export(tagger, tmp_path, monkeypatch):
    run = CompiledModelRunner.call

    def wrong(self, signature, inputs):
        return {name: x + 0.5 for name, x in run(self, signature, inputs).items()}

    monkeypatch.setattr(CompiledModelRunner, "call", wrong)
    with pytest.raises(ExportError, match="in CompiledModelRunner` must return what"):
        tagger.export(tmp_path / "new", "tflite", ["ab c"], static=(1, 6))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(cases=1)
@pytest.mark.parametrize(
    ("max_new_tokens", "weights"),
    [(40, "float32"), (9, "int4")],  # 40 are more than the first length of growing caches
)
def test_a_transformer(make_translator, tmp_path, max_new_tokens, weights):
    task = make_translator(GreedySearch(max_new_tokens), build=small_transformer)
    options = {} if weights == "float32" else {"weights": weights, "allow_loss": True}
    report = task.export(tmp_path / "new", "tflite", SAMPLES, static=(1, 12), **options)
    compiled = report["compiled_model_agreement"]
    assert compiled["equal"] == compiled["compared"] > 40
    assert_no_free_shape((tmp_path / "new" / "model.tflite").read_bytes())
    if weights == "float32":
        assert load_exported(tmp_path / "new")(SAMPLES) == task(SAMPLES)


@pytest.mark.slow
def test_ids_of_sources_of_rising_and_falling_length(make_translator, tmp_path):
    task = make_translator(BeamSearch(3, num_return_sequences=2, max_new_tokens=9))
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(task.with_static_inputs((1, 12)), options=True))
    rng = np.random.default_rng(0)
    sources = [rng.integers(4, 10, (1, length)) for length in (1, 11, 2, 10, 5, 1, 11)]
    sources = [np.append(ids, [[2]], 1).astype("int32") for ids in sources]
    expected = [task.runner(source, details=True) for source in sources]
    # XNNPACK may lose a copy in some interpreters; see test_xnnpack.py.
    for runner in [CompiledModelRunner(path), *(TFLiteRunner(path) for _ in range(40))]:
        for source, outputs in zip(sources, expected, strict=True):
            for name in ("serving_default", "details", "with_options"):
                received = runner.call(name, {"source": source, **task.strategy.options(1)})
                np.testing.assert_array_equal(received["ids"], outputs["ids"])
                np.testing.assert_allclose(received["scores"], outputs["scores"], rtol=1e-4)
