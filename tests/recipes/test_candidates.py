"""`CandidateBatches`: the model's own answers, the reference after them, and what they cost."""

import keras
import numpy as np
import pytest

from keras_attention.generation import BeamSearch
from keras_attention.models import seq2seq
from keras_attention.recipes.candidates import CandidateBatches
from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer

PAIRS = [(source, source.upper()) for source in ("a", "bb", "ab", "ba" * 6, "ab" * 6)]
K = 2


def make():
    keras.utils.set_random_seed(0)
    source, target = CharacterTokenizer.train(["ab"]), CharacterTokenizer.train(["AB"])
    model = seq2seq(source.vocabulary_size, target.vocabulary_size, 8, 8, dropout=0.0)
    model.compile("adam", "mse")
    return Translator(model, source, target)


def length(hypotheses, references):
    """A metric: 1 for each character up to the reference's number, less for each above."""
    (said,), (reference,) = hypotheses, references
    return len(reference) - abs(len(reference) - len(said))


def test_answers_of_the_model_then_the_reference_and_their_costs():
    task = make()
    data = CandidateBatches(task, PAIRS, length, batch_size=6, max_length=24, candidates=K)
    data.on_epoch_begin()
    seen = []
    for place in range(len(data)):
        inputs, labels, costs = data[place]
        rows, long = labels.shape
        assert rows % (K + 1) == 0 and rows <= 6
        assert inputs["source"].shape == inputs["target"].shape == (rows, long)
        assert (inputs["target"][:, 0] == 1).all()
        shifted = np.where(labels[:, 1:] == 0, 0, labels[:, :-1])
        np.testing.assert_array_equal(inputs["target"][:, 1:], shifted)
        for first in range(0, rows, K + 1):
            group = slice(first, first + K + 1)
            assert (inputs["source"][group] == inputs["source"][first]).all()
            source = task.source_tokenizer.detokenize(inputs["source"][group]).numpy()[0].decode()
            said = [
                text.decode() for text in task.target_tokenizer.detokenize(labels[group]).numpy()
            ]
            task.strategy = BeamSearch(K, num_return_sequences=K, max_new_tokens=long)
            assert said[:K] == [answer.text for answer in task.generate([source])[0]]
            assert said[K] == source.upper()
            lacking = [len(said[K]) - length([text], [said[K]]) for text in said]
            np.testing.assert_array_equal(costs[group], lacking)
            seen.append(source)
    assert len(seen) == len(set(seen))
    assert {len(source) for source in seen} > {12}  # both lengths came


def test_each_epoch_draws_some_anew_and_a_training_that_goes_on_the_same():
    task, pairs = make(), [("ab" * n, "AB" * n) for n in range(1, 4)] * 8
    options = dict(batch_size=9, max_length=16, candidates=K, sources=6, seed=3)
    data = CandidateBatches(task, pairs, length, **options)
    draws = []
    for steps in (0, 2, 2):
        task.model.optimizer.iterations.assign(steps)
        other = CandidateBatches(task, pairs, length, **options)
        drawn = [rows.tolist() for rows, _ in data._draw()]
        assert drawn == [rows.tolist() for rows, _ in other._draw()]
        draws.append(sorted(sum(drawn, [])))
    assert len(data) == 2 and len(draws[0]) == 6
    assert draws[0] != draws[1] == draws[2]


def test_it_shows_keras_two_lengths():
    """From the first two batches Keras takes which dimensions are free."""
    data = CandidateBatches(make(), PAIRS, length, batch_size=6, max_length=24, candidates=K)
    assert data[0][1].shape[1] < data[1][1].shape[1]


def test_few_pairs_and_none():
    data = CandidateBatches(make(), PAIRS[:1], length, batch_size=64, max_length=8, candidates=K)
    assert len(data) == 1 and data[0][1].shape == (K + 1, 8)
    with pytest.raises(ValueError, match="at least one pair. Received: \\[\\]"):
        CandidateBatches(make(), [], length, batch_size=64, max_length=8)
