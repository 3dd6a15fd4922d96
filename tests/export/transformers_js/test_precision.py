"""Folders of reduced precision: the files that transformers.js selects, and their quality."""

import json

import numpy as np
import onnx
import pytest

from helpers import model_inputs
from keras_attention.export import ExportError, verify
from keras_attention.export.transformers_js import writer
from keras_attention.generation import GreedySearch
from keras_attention.tasks import load_exported
from small_transformers import build_transformer
from transformers_js import generate, in_node, translate

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]
SIZES = {"hidden_dim": 64, "intermediate_dim": 128, "num_heads": 4}
TEXTS = ["ab", "cade bba", "e  d", "abcd", "", "dea", "c", "bb e", "a e d", "dddd"]
SUFFIXES = {"float16": ("_fp16", "fp16"), "int8": ("_quantized", "q8")}


@pytest.fixture(scope="module")
def large_generator(make_generator):
    """Its matrices are large enough to be quantized."""
    return make_generator(**SIZES)


@pytest.fixture(scope="module")
def large_translator(make_translator):
    strategy = GreedySearch(max_new_tokens=9)
    return make_translator(
        strategy, build=lambda *sizes: build_transformer(*sizes, **SIZES), seed=3
    )


@pytest.fixture(scope="module", params=SUFFIXES)
def exported(request, large_generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator") / request.param
    options = {"weights": request.param, "allow_loss": True}
    return (
        request.param,
        folder,
        large_generator.export(folder, "transformers_js", TEXTS, **options),
    )


def test_folder_and_report(exported, large_generator):
    weights, folder, report = exported
    suffix, dtype = SUFFIXES[weights]
    assert [path.name for path in (folder / "onnx").iterdir()] == [f"model{suffix}.onnx"]
    config = json.loads((folder / "config.json").read_text())
    assert config["transformers.js_config"] == {"dtype": dtype}
    assert report["weights"] == weights
    agreement = report["agreement"]
    assert agreement["compared"] == 12
    assert agreement["equal"] >= 9 and agreement["equal_in_batches"] >= 9
    again = verify(folder)["agreement"]
    assert again["equal"] == again["compared"] == 8
    loaded = load_exported(folder)
    inputs = model_inputs(large_generator, TEXTS)
    equal = loaded.runner(inputs)["ids"] == large_generator.runner(inputs)["ids"]
    assert equal.all((1, 2)).sum() >= 8


def test_weights_have_the_precision(exported):
    weights, folder, _ = exported
    model = onnx.load(folder / "onnx" / f"model{SUFFIXES[weights][0]}.onnx")
    types = {each.data_type for each in model.graph.initializer if np.prod(each.dims) >= 64 * 11}
    names = {each.op_type for each in model.graph.node}
    if weights == "float16":
        assert types == {onnx.TensorProto.FLOAT16}
    else:
        assert types <= {onnx.TensorProto.UINT8, onnx.TensorProto.INT8}
        assert {"MatMulNBits", "DequantizeLinear"} <= names
    inputs = {each.type.tensor_type.elem_type for each in model.graph.input}
    assert inputs == {onnx.TensorProto.INT64, onnx.TensorProto.FLOAT}


@in_node
def test_transformers_js_selects_the_file(exported):
    _, folder, _ = exported
    assert generate(folder, TEXTS) == load_exported(folder)(TEXTS)


@pytest.mark.parametrize("weights", SUFFIXES)
@in_node
def test_translator(weights, large_translator, tmp_path):
    folder = tmp_path / "new"
    options = {"weights": weights, "allow_loss": True}
    report = large_translator.export(folder, "transformers_js", TEXTS, **options)
    suffix, _ = SUFFIXES[weights]
    files = {path.name for path in (folder / "onnx").iterdir()}
    assert files == {f"encoder_model{suffix}.onnx", f"decoder_model_merged{suffix}.onnx"}
    assert report["agreement"]["equal"] >= 9
    assert translate(folder, TEXTS) == load_exported(folder)(TEXTS)


def test_loss_is_refused(large_generator, tmp_path, monkeypatch):
    def damage(model, weights):
        for each in model.graph.initializer:
            if len(each.dims) == 2:
                each.raw_data = bytes(len(each.raw_data))
        return model

    monkeypatch.setattr(writer, "reduce_precision", damage)
    with pytest.raises(ExportError, match="must score at most 1.0 below the model's"):
        large_generator.export(tmp_path / "new", "transformers_js", TEXTS, weights="int8")
    assert list(tmp_path.iterdir()) == []


def test_arguments(large_generator, tmp_path):
    with pytest.raises(ValueError, match="`weights` must be one of .*Received: .*int4"):
        large_generator.export(tmp_path / "new", "transformers_js", TEXTS, weights="int4")
    with pytest.raises(ValueError, match="`references` are for exports whose results are scored"):
        large_generator.export(tmp_path / "new", "transformers_js", TEXTS, references=TEXTS)
