"""Tests of `CandidateBatches`: candidates of the model, their references and their costs."""

import keras
import numpy as np
import pytest

from keras_attention.generation import BeamSearch
from keras_attention.models import seq2seq
from keras_attention.recipes import CandidateBatches
from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer

PAIRS = [(source, source.upper()) for source in ("a", "bb", "ab", "ba" * 6, "ab" * 6)]
K = 2


def make_task():
    keras.utils.set_random_seed(0)
    source, target = CharacterTokenizer.train(["ab"]), CharacterTokenizer.train(["AB"])
    model = seq2seq(source.vocabulary_size, target.vocabulary_size, 8, 8, dropout=0.0)
    model.compile("adam", "mse")
    return Translator(model, source, target)


def length_metric(hypotheses, references):
    """The length of the reference minus the difference in length of the hypothesis."""
    (hypothesis,), (reference,) = hypotheses, references
    return len(reference) - abs(len(reference) - len(hypothesis))


def make_batches(pairs=PAIRS, batch_size=6, max_length=24, **options):
    return CandidateBatches(make_task(), pairs, length_metric, batch_size, max_length, **options)


@pytest.mark.slow
def test_batch_has_candidates_then_the_reference_and_their_costs():
    data = make_batches(num_candidates=K)
    task = data.task
    data.on_epoch_begin()
    seen = []
    for index in range(len(data)):
        inputs, labels, costs = data[index]
        rows, length = labels.shape
        assert rows % (K + 1) == 0 and rows <= 6
        assert inputs["source"].shape == inputs["target"].shape == (rows, length)
        assert (inputs["target"][:, 0] == 1).all()
        shifted = np.where(labels[:, 1:] == 0, 0, labels[:, :-1])
        np.testing.assert_array_equal(inputs["target"][:, 1:], shifted)
        for first in range(0, rows, K + 1):
            group = slice(first, first + K + 1)
            assert (inputs["source"][group] == inputs["source"][first]).all()
            source = task.source_tokenizer.detokenize(inputs["source"][group]).numpy()[0].decode()
            texts = [
                text.decode() for text in task.target_tokenizer.detokenize(labels[group]).numpy()
            ]
            task.strategy = BeamSearch(K, num_return_sequences=K, max_new_tokens=length)
            assert texts[:K] == [output.text for output in task.generate([source])[0]]
            assert texts[K] == source.upper()
            expected = [len(texts[K]) - length_metric([text], [texts[K]]) for text in texts]
            np.testing.assert_array_equal(costs[group], expected)
            seen.append(source)
    assert len(seen) == len(set(seen))
    assert {len(source) for source in seen} > {12}  # both lengths were drawn


def test_epochs_draw_different_pairs_and_resumed_epochs_the_same():
    task, pairs = make_task(), [("ab" * n, "AB" * n) for n in range(1, 4)] * 8
    options = dict(batch_size=9, max_length=16, num_candidates=K, num_sources=6, seed=3)
    data = CandidateBatches(task, pairs, length_metric, **options)
    draws = []
    for epoch in (0, 2, 2):
        other = CandidateBatches(task, pairs, length_metric, **options)
        data.epoch = other.epoch = epoch
        drawn = [rows.tolist() for rows, _ in data._draw()]
        assert drawn == [rows.tolist() for rows, _ in other._draw()]
        draws.append(sorted(sum(drawn, [])))
    assert len(data) == 2 and len(draws[0]) == 6
    assert draws[0] != draws[1] == draws[2]


def test_first_two_batches_differ_in_length():
    """Keras infers from the first two batches which dimensions vary."""
    data = make_batches(batch_size=3, num_candidates=K)
    assert data[0][1].shape[1] < data[1][1].shape[1]


def test_one_pair_and_no_pairs():
    data = make_batches(PAIRS[:1], batch_size=64, max_length=8, num_candidates=K)
    assert len(data) == 1 and data[0][1].shape == (K + 1, 8)
    with pytest.raises(ValueError, match="at least one pair. Received: pairs=\\[\\]"):
        make_batches([], batch_size=64, max_length=8)
