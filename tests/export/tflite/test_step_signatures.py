"""Signatures `encode` and `decode`, run as an app would, generate like greedy search."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import model_inputs
from keras_attention.export import ExportError
from keras_attention.export.tflite.compiled_model import CompiledModelRunner
from keras_attention.export.tflite.conversion import convert
from keras_attention.export.tflite.flatbuffer import write_model
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.tflite.step_runner import GreedyLoop, zeros_of_decode
from keras_attention.export.tflite.step_signatures import verify_steps
from keras_attention.export.tflite.step_tensors import trace_step_tensors
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.models import transformer
from keras_attention.types import Batch

SAMPLES = ["a", "bcade", "deed abba"]


@pytest.fixture(scope="module")
def runner(tflite):
    """Runner of a file whose own strategy is beam search."""
    return TFLiteRunner(tflite.folder)


def test_one_file_has_both_loops(tflite, runner):
    assert tflite.report["steps_agreement"] == {"compared": 14, "equal": 14}
    signatures = runner.interpreter.get_signature_list()
    assert set(signatures) == {"serving_default", "details", "encode", "decode"}
    tensors = set(signatures["encode"]["outputs"])
    assert set(signatures["decode"]["inputs"]) == {"ids", "position"} | tensors
    assert {name.rpartition("_")[0] for name in tensors} == {"constants", "state"}
    state = {name for name in tensors if name.startswith("state_")}
    assert state and set(signatures["decode"]["outputs"]) == {"logits"} | state


def test_an_app_generates_like_greedy_search(runner, translator):
    for texts in (["bca"], ["deed cab", "", "x"]):
        source = model_inputs(translator, texts)
        expected = np.asarray(translator.model.generate(source, GreedySearch(9)).ids)[:, 0]
        ids = GreedyLoop(runner.call, GreedySearch(9)).generate(source)["ids"][:, 0]
        np.testing.assert_array_equal(ids[:, : expected.shape[1]], expected)


def test_logits_are_those_of_the_model(runner, translator):
    source = model_inputs(translator, ["deed cab", "x"])
    expected = np.asarray(translator.model({"source": source, "target": np.array([[1], [1]])}))
    tensors = runner.call("encode", {"source": source})
    ids, position = np.array([1, 1], "int32"), np.array(0, "int32")
    logits = runner.call("decode", {"ids": ids, "position": position, **tensors})["logits"]
    np.testing.assert_allclose(logits[:, 2:], expected[:, 0, 2:], atol=1e-5)
    assert (logits[:, :2] == -1e9).all()  # [PAD] and [START]


def test_another_model_disagrees(runner, make_translator):
    other = make_translator(seed=5)
    batches = [Batch(model_inputs(other, ["bcade"]))]
    loop = GreedyLoop(runner.call, GreedySearch(other.strategy.max_new_tokens))
    with pytest.raises(ExportError, match=r"greedy search generates for ids \[.*\]: \[.*\]"):
        verify_steps(other.model, loop, batches, exact=True)
    report = verify_steps(other.model, loop, batches, exact=False)
    assert report == {"steps_agreement": {"compared": 1, "equal": 0}}


def small_transformer(source, target):
    return transformer(
        source, target, size="tiny", num_layers=2, hidden_dim=16, intermediate_dim=12, num_heads=4
    )


@pytest.mark.slow(cases=1)
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_transformer(make_translator, tmp_path, weights):
    task = make_translator(BeamSearch(2, max_new_tokens=9), build=small_transformer)
    options = {"static": (1, 12), "weights": weights, "allow_loss": True}
    options = {} if weights == "float32" else options
    report = task.export(tmp_path / "new", "tflite", SAMPLES, steps=True, **options)
    agreement = report["steps_agreement"]
    if weights == "float32":
        assert agreement == {"compared": 10, "equal": 10}
    else:  # of a static batch of 1
        assert agreement["compared"] == 5 and agreement["equal"] >= 4


@pytest.mark.slow
@pytest.mark.parametrize("build", ["GRU", "Transformer"])
def test_static_shapes_run_in_both_apis(make_translator, tmp_path, build):
    options = {"build": small_transformer} if build == "Transformer" else {}
    task = make_translator(GreedySearch(9), **options).with_static_inputs((2, 12))
    signatures = [
        x for x in task.signatures("tflite", steps=True) if x.name in ("encode", "decode")
    ]
    path = tmp_path / "model.tflite"
    path.write_bytes(write_model(convert(signatures)))
    runner, compiled = TFLiteRunner(path), CompiledModelRunner(path)
    details = runner.interpreter.get_signature_runner
    for name in ("encode", "decode"):
        outputs = details(name).get_output_details().values()
        assert not {x["dtype"] for x in outputs} - {np.float32, np.int32}
        assert len({x["index"] for x in outputs}) == len(outputs)
    zeros = zeros_of_decode(runner)
    assert len(zeros) == (4 if build == "Transformer" else 0)  # the caches of two blocks
    for texts in (["bca", "deed cab"], ["deed abba", ""], ["x"]):
        source = model_inputs(task, texts)
        expected = np.asarray(task.model.generate(source, GreedySearch(9)).ids)[:, 0]
        for call in (runner.call, compiled.call):
            loop = GreedyLoop(call, GreedySearch(9), zeros, (2, 12))
            ids = loop.generate(source)["ids"][:, 0]
            np.testing.assert_array_equal(ids[:, : expected.shape[1]], expected)


def test_tensors_of_a_step_are_distinct_and_read():
    def start(source):
        mask = keras.ops.not_equal(source, 0)
        again = keras.ops.not_equal(source, 0)
        unread = keras.ops.cast(source, "float32")
        keys = keras.ops.cast(source, "float32") * 2
        state = [keras.ops.zeros((1, 3)), keras.ops.zeros((1, 3)), keys + 1]
        return {"memories": [(keys, mask, None), (unread, again, None)]}, state

    def advance(ids, position, constants, state):
        (keys, mask, _), (_, again, _) = constants["memories"]
        used = keras.ops.where(mask & again, keys, state[2])
        return used + state[0][:, :1], [state[0] + 1, state[1] + used[:, :3], state[2]]

    spec = {"ids": tf.TensorSpec((1,), tf.int32), "position": tf.TensorSpec((), tf.int32)}
    source = tf.constant([[4, 5, 0]])
    tensors = trace_step_tensors(start, advance, tf.TensorSpec((1, 3), tf.int32), spec)
    outputs = tensors.outputs_of_start(*start(source))
    assert {name: x.numpy().tolist() for name, x in outputs.items()} == {
        "constants_00": [[8.0, 10.0, 0.0]],
        "constants_01": [[1, 1, 0]],
        "state_02": [[9.0, 11.0, 1.0]],
    }
    assert {name: x.tolist() for name, x in tensors.zeros().items()} == {
        "state_00": [[0.0, 0.0, 0.0]],
        "state_01": [[0.0, 0.0, 0.0]],
    }
    constants, state = tensors.restore({**outputs, **tensors.zeros()})
    (_, mask, _), (unread, again, _) = constants["memories"]
    assert mask.dtype == again.dtype == tf.bool and unread.shape == (1, 3)
    assert mask.numpy().tolist() == [[True, True, False]]
    _, new_state = advance(
        None, None, {"memories": [(outputs["constants_00"], mask, None)] * 2}, state
    )
    assert list(tensors.changes(state, new_state)) == ["state_00", "state_01"]
