"""LOG_SOFTMAX is replaced, and its results stay the same."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from helpers import edited
from keras_attention.export.tflite.flatbuffer import builtin_operator, read_model
from keras_attention.export.tflite.log_softmax import expand_log_softmax

Op = schema.BuiltinOperator


def convert(spec):
    """Returns a TFLite file of a log-softmax."""
    function = tf.function(tf.nn.log_softmax, input_signature=[spec], autograph=False)
    concrete = function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], function).convert()


def operators_of(file):
    model = read_model(file)
    return {builtin_operator(model, each) for each in model.subgraphs[0].operators}


@pytest.mark.parametrize("shape", [(None, None, 7), (2, 3, 7), (2, 7)])
def test_results_are_the_same(shape):
    file = convert(tf.TensorSpec(shape))
    expanded = edited(file, expand_log_softmax)
    assert Op.LOG_SOFTMAX in operators_of(file)
    assert Op.LOG_SOFTMAX not in operators_of(expanded) and Op.EXP in operators_of(expanded)
    x = np.random.default_rng(0).normal(size=[size or 3 for size in shape]) * 20
    x.flat[:7] = [-1e9, 0, 90, 0, 0, -1e9, 0]  # tokens that are never generated
    shifted = x - x.max(-1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    run = Interpreter(model_content=expanded)
    run.resize_tensor_input(run.get_input_details()[0]["index"], x.shape)
    run.allocate_tensors()
    run.set_tensor(run.get_input_details()[0]["index"], x.astype("float32"))
    run.invoke()
    received = run.get_tensor(run.get_output_details()[0]["index"])
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-6)
