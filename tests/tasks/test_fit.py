"""`fit`: the best is kept, what was cut off goes on, and Ctrl-C leaves something usable."""

import keras
import numpy as np
import pytest

from keras_attention.folders import read_json
from keras_attention.generation import Greedy
from keras_attention.models import seq2seq
from keras_attention.tasks import Translator
from keras_attention.tasks import fit as fit_module
from keras_attention.tasks.fit import fit, unfinished
from keras_attention.text import Characters

PAIRS = [("ab", "BA"), ("ba", "AB"), ("a", "A"), ("bb", "BB")]
SOURCES = [source for source, _ in PAIRS]


def make(seed=0):
    keras.utils.set_random_seed(seed)
    source, target = Characters.train(["ab"]), Characters.train(["AB"])
    model = seq2seq(source.vocabulary_size, target.vocabulary_size, 16, 32, dropout=0.0)
    return Translator(model, source, target, Greedy(max_length=4), 8)


def train(task, folder, **options):
    defaults = dict(epochs=3, batch_size=4, max_length=8, learning_rate=0.01, warmup_steps=1)
    return fit(task, PAIRS, PAIRS, folder, **{**defaults, **options})


def exact(hypotheses, references):
    return float(np.mean([a == b for a, b in zip(hypotheses, references, strict=True)]))


class Script:
    """A metric that gives the scores it was told; an exception is raised in its place."""

    def __init__(self, *scores):
        self.scores = list(scores)
        self.texts = []

    def __call__(self, hypotheses, references):
        self.texts.append(hypotheses)
        score = self.scores.pop(0)
        if isinstance(score, type):
            raise score
        return score


def test_it_learns_and_what_it_saved_works(tmp_path):
    task = make()
    options = dict(epochs=30, learning_rate=0.05, label_smoothing=0.0, every=15)
    history = train(task, tmp_path / "task", metric=exact, metric_name="val_exact", **options)
    assert history.history["loss"][-1] < 0.1 * history.history["loss"][0]
    assert max(history.history["val_exact"]) == 1.0
    loaded = Translator.load(tmp_path / "task")
    assert loaded(SOURCES) == [target for _, target in PAIRS]
    assert not unfinished(tmp_path / "task").exists()


def test_the_best_is_kept_not_the_last(tmp_path):
    task, metric = make(), Script(1.0, 3.0, 2.0)
    train(task, tmp_path / "task", metric=metric, learning_rate=0.3)
    assert len(metric.texts) == 3
    saved = Translator.load(tmp_path / "task")
    assert saved(SOURCES) == metric.texts[1]
    weights = zip(saved.model.get_weights(), task.model.get_weights(), strict=True)
    assert any((a != b).any() for a, b in weights)
    assert read_json(tmp_path / "task" / "training.json")["epoch"] == 2


@pytest.mark.slow
def test_patience_stops_it(tmp_path):
    history = train(make(), tmp_path / "task", epochs=9, metric=Script(2.0, 1.0, 1.0), patience=2)
    assert len(history.epoch) == 3


def test_training_that_was_cut_off_goes_on(tmp_path):
    """The weights after it are those of a training that was not, and the best stays the best."""
    folder = tmp_path / "task"
    whole = make()
    train(whole, tmp_path / "whole", metric=Script(1.0, 3.0, 2.0, 2.5), epochs=4)

    with pytest.raises(SystemExit):
        train(make(), folder, metric=Script(1.0, 3.0, SystemExit), epochs=4)
    best = Translator.load(folder)(SOURCES)
    assert unfinished(folder).is_dir()
    with pytest.raises(ValueError, match="Received: other batch_size"):
        train(make(), folder, metric=Script(1.0), epochs=4, batch_size=2)
    resumed, metric = make(seed=5), Script(2.0, 2.5)
    history = train(resumed, folder, metric=metric, epochs=4)
    assert len(history.epoch) == len(metric.texts) <= 2
    assert int(resumed.model.optimizer.iterations) == int(whole.model.optimizer.iterations) == 4
    for got, expected in zip(
        resumed.model.trainable_weights, whole.model.trainable_weights, strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    assert Translator.load(folder)(SOURCES) == best
    assert read_json(folder / "training.json")["val_bleu"] == 3.0
    assert not unfinished(folder).exists()


def test_ctrl_c_after_a_score_leaves_the_best(tmp_path):
    metric = Script(3.0, 1.0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        train(make(), tmp_path / "task", metric=metric)
    assert Translator.load(tmp_path / "task")(SOURCES) == metric.texts[0]


@pytest.mark.slow
def test_ctrl_c_before_a_score_leaves_what_there_is(tmp_path):
    task = make()
    with pytest.raises(KeyboardInterrupt):
        train(task, tmp_path / "task", metric=Script(KeyboardInterrupt))
    assert Translator.load(tmp_path / "task")(SOURCES) == task(SOURCES)


def test_ctrl_c_before_a_score_keeps_an_older_task(tmp_path):
    older = make(seed=3)
    older.save(tmp_path / "task")
    with pytest.raises(KeyboardInterrupt):
        train(make(), tmp_path / "task", metric=Script(KeyboardInterrupt))
    kept = Translator.load(tmp_path / "task").model.get_weights()
    for got, expected in zip(kept, older.model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_without_a_score_the_last_is_saved(tmp_path):
    task = make()
    train(task, tmp_path / "task", epochs=1, every=2)
    assert Translator.load(tmp_path / "task")(SOURCES) == task(SOURCES)


def test_a_folder_of_something_else_stops_it_before_it_begins(tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(ValueError, match="Received: .* holds something else"):
        train(make(), tmp_path)
    assert (tmp_path / "letter").read_text() == "dear"


@pytest.mark.slow
def test_bleu_is_the_score_by_default(tmp_path):
    history = train(make(), tmp_path / "task", epochs=1)
    assert 0 <= history.history["val_bleu"][0] <= 100
    assert fit_module.bleu_score(["a b c d"], ["a b c d"]) == pytest.approx(100)
