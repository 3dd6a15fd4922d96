"""Batched products read a transposed factor, and their results stay the same."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from helpers import edited
from keras_attention.export.tflite.flatbuffer import builtin_operator, read_model
from keras_attention.export.tflite.matmul import transpose_factors

Op = schema.BuiltinOperator
CONSTANT = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Three products: with a computed factor, with a transposed one, and with a constant."""

    def products(x, y):
        return {
            "plain": tf.matmul(x, y),
            "transposed": tf.matmul(x, tf.transpose(y, (0, 2, 1)), transpose_b=True),
            "constant": tf.matmul(x, CONSTANT),
        }

    module, folder = tf.Module(), str(tmp_path_factory.mktemp("products"))
    spec = tf.TensorSpec((2, None, 5), name="x"), tf.TensorSpec((2, 5, None), name="y")
    function = tf.function(products, input_signature=spec, autograph=False)
    tf.saved_model.save(module, folder, signatures=function.get_concrete_function())
    return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def products_of(file):
    """Returns the model, its graph, and its operators BATCH_MATMUL."""
    model = read_model(file)
    graph = model.subgraphs[0]
    return (
        model,
        graph,
        [each for each in graph.operators if builtin_operator(model, each) == Op.BATCH_MATMUL],
    )


def test_computed_factors_are_transposed(file):
    assert not all(each.builtinOptions.adjY for each in products_of(file)[2])
    model, graph, products = products_of(edited(file, transpose_factors))
    written_by = {output: each for each in graph.operators for output in each.outputs}
    computed = [each for each in products if each.inputs[1] in written_by]
    assert computed and all(each.builtinOptions.adjY for each in computed)
    once = edited(file, transpose_factors)
    assert edited(once, transpose_factors) == once


@pytest.mark.parametrize("length, width", [(1, 7), (4, 1), (3, 8)])
def test_results_are_the_same(file, length, width):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, length, 5)).astype("float32")
    y = rng.normal(size=(2, 5, width)).astype("float32")
    run = Interpreter(model_content=edited(file, transpose_factors)).get_signature_runner()
    outputs = run(x=x, y=y)
    np.testing.assert_allclose(outputs["plain"], x @ y, atol=1e-5)
    np.testing.assert_allclose(outputs["transposed"], x @ y, atol=1e-5)
    np.testing.assert_allclose(outputs["constant"], x @ CONSTANT, atol=1e-5)
