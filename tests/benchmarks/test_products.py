from types import SimpleNamespace

import numpy as np

from keras_attention import models
from steps import causal_lm, rnn, transformer
from steps.products import Product, multiply, with_gradients

SIZES = {"batch": 3, "length": 4, "vocabulary": 50}


def test_products_are_computed():
    x, y = np.ones((2, 4), "float32"), np.ones((4, 3), "float32")
    elements = multiply([(x, [y, 2 * y])], barrier=lambda x: x)
    np.testing.assert_array_equal(np.asarray(elements), [[[4]], [[8]]])


def test_gradients_have_twice_the_flops():
    product = Product(rows=2, inner=3, columns=5, count=7, batch=11)
    assert product.flops == 2 * 2 * 3 * 5 * 7 * 11
    first, left, right = with_gradients([product])
    assert first == product
    assert (left.rows, left.inner, left.columns) == (2, 5, 3)  # as the left operand
    assert (right.rows, right.inner, right.columns) == (3, 2, 5)  # as the right operand
    assert left.flops == right.flops == product.flops


def flops_of_weights(products):
    """Products of each row of a batch, with `batch` above 1, are those of attention."""
    return sum(product.flops for product in products if product.batch == 1)


def num_matrix_weights(model):
    """Returns the number of weights that multiply vectors."""
    return sum(
        np.prod(weight.shape)
        for weight in model.trainable_weights
        if len(weight.shape) > 1 and not {"embeddings", "bias"} & set(weight.path.split("/"))
    )


# Kaplan et al. 2020, section 2.1: a training step has 6 operations for each weight and token.


def test_flops_of_a_causal_lm():
    sizes = {"layers": 2, "hidden_dim": 8, "heads": 2, "dtype_policy": "float32"}
    options = SimpleNamespace(**SIZES, **sizes)
    weights = num_matrix_weights(causal_lm.random_model(options)) + 50 * 8  # the tied output
    assert flops_of_weights(causal_lm.products(options)) == 6 * 3 * 4 * weights


def test_flops_of_a_transformer():
    sizes = {"layers": 2, "hidden_dim": 8, "heads": 2, "intermediate_dim": 12}
    options = SimpleNamespace(**SIZES, **sizes)
    model = models.transformer(50, 50, num_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=12)
    weights = num_matrix_weights(model) + 50 * 8
    assert flops_of_weights(transformer.products(options)) == 6 * 3 * 4 * weights


def test_flops_of_an_rnn():
    options = SimpleNamespace(**SIZES, embedding=6, units=8)
    model = models.seq2seq(50, 50, embedding_dim=6, units=8)
    weights = num_matrix_weights(model) - 8 * 8  # not of the initial state: not for each token
    assert flops_of_weights(rnn.products(options)) == 6 * 3 * 4 * weights
