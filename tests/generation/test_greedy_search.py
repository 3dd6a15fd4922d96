"""Greedy search compared with a plain loop over full forward passes."""

import numpy as np
import pytest
from keras import ops

from helpers import array, compiled_on_jax
from keras_attention.generation import GreedySearch
from keras_attention.generation.greedy_search import most_probable
from keras_attention.models import seq2seq

SOURCE = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2], [2, 0, 0, 0, 0]])
V = 12


def make(**options):
    model = seq2seq(11, V, embedding_dim=8, units=8, **options)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(rng.normal(size=weight.shape) * 0.7)
    return model


def plain_greedy_search(model, source, max_new_tokens):
    """Calls the whole model again for each token, with padding after the tokens."""
    ids, score = [1], 0.0
    while len(ids) <= max_new_tokens and ids[-1] != 2:
        target = np.pad([ids], ((0, 0), (0, max_new_tokens - len(ids))))
        logits = array(compiled_on_jax(model)({"source": source[None], "target": target}))
        logits = logits[0, len(ids) - 1].astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum())
        ids.append(2 + int(log_probs[2:].argmax()))
        score += log_probs[ids[-1]]
    return ids[1:], score


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("options", [{}, {"attention": "luong", "input_feeding": True}])
def test_greedy_search_equals_the_plain_loop(options):
    model = make(**options)
    outputs = model.generate(SOURCE, GreedySearch(max_new_tokens=5), return_attention=True)
    assert outputs.ids.shape == (3, 1, 5) and outputs.attention.shape == (3, 1, 5, 5)
    for source, ids, score in zip(SOURCE, outputs.ids[:, 0], outputs.scores[:, 0], strict=True):
        expected, expected_score = plain_greedy_search(model, source, 5)
        assert ids[: len(expected)].tolist() == expected and not ids[len(expected) :].any()
        np.testing.assert_allclose(score, expected_score, rtol=1e-4)


def test_most_probable():
    logits = ops.convert_to_tensor([[[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]], [[0.0, 1, 1], [2, 2, 2]]])
    index = most_probable(logits)
    assert array(index).tolist() == [[1, 0], [1, 0]]
    assert array(index).dtype == "int32"
