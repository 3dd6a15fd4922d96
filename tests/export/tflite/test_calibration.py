"""Inputs of signatures from which the ranges of activations are taken."""

import numpy as np
import tensorflow as tf

from keras_attention.export.signatures import Comparison, Signature
from keras_attention.export.tflite import calibration
from keras_attention.export.tflite.calibration import calibration_inputs
from keras_attention.types import Batch

SOURCE = {"source": tf.TensorSpec((1, 2), tf.int32, name="source")}
BATCHES = [Batch(np.array([[i, i + 1]])) for i in range(3)]


def test_signatures_take_the_model_inputs():
    signatures = [Signature("a", dict, SOURCE), Signature("b", dict, SOURCE)]
    inputs = calibration_inputs(signatures, BATCHES)
    assert list(inputs) == ["a", "b"]
    for each in inputs.values():
        assert [x["source"].tolist() for x in each] == [[[0, 1]], [[1, 2]], [[2, 3]]]
        assert all(x["source"].dtype == np.int32 for x in each)


def test_signatures_that_are_run_together_are_recorded(monkeypatch):
    def run(call, batches, exact):
        for batch in batches:
            x = call("start", {"source": batch.model_inputs, "unread": None})["x"]
            for _ in range(4):
                x = call("next", {"x": x})["x"]

    spec = {"x": tf.TensorSpec((1, 2), tf.float32, name="x")}
    start = Signature("start", lambda inputs: {"x": tf.cast(inputs["source"], "float32")}, SOURCE)
    after = Signature("next", lambda inputs: {"x": inputs["x"] + 10}, spec, Comparison(run=run))
    inputs = calibration_inputs([start, after], BATCHES)
    assert [x["source"].tolist() for x in inputs["start"]] == [[[0, 1]], [[1, 2]], [[2, 3]]]
    expected = [[[i + 10 * n, i + 1 + 10 * n]] for i in range(3) for n in range(4)]
    assert [x["x"].tolist() for x in inputs["next"]] == expected

    monkeypatch.setattr(calibration, "MAX_CALLS", 5)
    chosen = [x["x"].tolist() for x in calibration_inputs([start, after], BATCHES)["next"]]
    assert len(chosen) == 5 and len({str(x) for x in chosen}) == 5
    assert all(x in expected for x in chosen) and chosen != expected[:5]
