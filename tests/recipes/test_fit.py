"""`fit`: the best is kept, what was cut off goes on, and Ctrl-C leaves something usable."""

import keras
import numpy as np
import pytest

from keras_attention.generation import GreedySearch
from keras_attention.models import seq2seq
from keras_attention.recipes import fit as fit_module
from keras_attention.recipes.fit import fit, unfinished
from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer
from keras_attention.utils.atomic_io import read_json

PAIRS = [("a", "A"), ("b", "B"), ("aa", "AA"), ("bb", "BB")]
SOURCES = [source for source, _ in PAIRS]


def make(seed=0, letters="AB"):
    keras.utils.set_random_seed(seed)
    source, target = CharacterTokenizer.train(["ab"]), CharacterTokenizer.train([letters])
    model = seq2seq(source.vocabulary_size, target.vocabulary_size, 16, 32, dropout=0.0)
    return Translator(model, source, target, GreedySearch(max_new_tokens=4), 8)


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


def noting(seen, task, *scores):
    """A `Script` that also writes down the weights that are scored."""
    script = Script(*scores)

    def metric(hypotheses, references):
        seen.append(task.model.get_weights())
        return script(hypotheses, references)

    return metric


def test_it_learns_and_what_it_saved_works(tmp_path):
    task = make()
    options = dict(epochs=60, learning_rate=0.05, label_smoothing=0.0, every=30)
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
def test_patience_stops_it_and_counts_what_was_before_a_stop(tmp_path):
    """Epochs are trained, and then scored: the third is not scored again."""
    options = {"epochs": 9, "patience": 3}
    with pytest.raises(SystemExit):
        train(make(), tmp_path / "task", metric=Script(2.0, 1.0, SystemExit), **options)
    history = train(make(), tmp_path / "task", metric=Script(1.0), **options)
    assert history.epoch == [3]
    assert read_json(tmp_path / "task" / "training.json")["epoch"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"average": 2, "decay": "inverse_sqrt", "r_drop": 5}, {"ema": 0.5, "batch_tokens": 32}],
)
def test_training_that_was_cut_off_goes_on(options, tmp_path):
    """The weights after it are those of a training that was not, and the best stays the best."""
    folder = tmp_path / "task"
    whole = make()
    train(whole, tmp_path / "whole", metric=Script(1.0, 3.0, 2.0, 2.5, 2.0), epochs=4, **options)

    with pytest.raises(SystemExit):
        train(make(), folder, metric=Script(1.0, 3.0, SystemExit), epochs=4, **options)
    best = Translator.load(folder)(SOURCES)
    assert unfinished(folder).is_dir()
    others = dict(
        batch_size=2, batch_tokens=8, decay="linear", average=3, ema=None, r_drop=None, risk=1
    )
    for name, value in others.items():
        if name in options or name == "batch_size":
            with pytest.raises(ValueError, match=f"Received: other {name}"):
                train(make(), folder, epochs=4, **{**options, name: value})
    resumed, metric = make(seed=5), Script(2.0, 2.5)
    history = train(resumed, folder, metric=metric, epochs=4, **options)
    assert len(history.epoch) <= 2
    assert int(resumed.model.optimizer.iterations) == int(whole.model.optimizer.iterations) == 4
    for got, expected in zip(
        resumed.model.trainable_weights, whole.model.trainable_weights, strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    assert Translator.load(folder)(SOURCES) == best
    assert read_json(folder / "training.json")["val_bleu"] == 3.0
    assert not unfinished(folder).exists()


def test_the_average_is_scored_and_kept_where_it_is_better(tmp_path, capsys):
    """Ctrl-C while it is scored loses nothing: the same call scores it again."""
    folder, task, seen = tmp_path / "task", make(), []
    options = {"epochs": 3, "average": 2, "learning_rate": 0.3}
    with pytest.raises(KeyboardInterrupt):
        train(task, folder, metric=noting(seen, task, 1.0, 3.0, 2.0, KeyboardInterrupt), **options)
    assert read_json(folder / "training.json") == {"val_bleu": 3.0, "epoch": 2}
    again = make(seed=5)
    history = train(again, folder, metric=noting(seen, again, 4.0), **options)
    assert not history.epoch
    _, second, third, interrupted, average = seen
    saved = Translator.load(folder).model.get_weights()
    for two, three, *means in zip(second, third, interrupted, average, saved, strict=True):
        expected = np.mean([two, three], axis=0, dtype="float64")
        for mean in means:
            np.testing.assert_allclose(mean, expected, rtol=1e-6, atol=1e-7)
    assert read_json(folder / "training.json") == {
        "val_bleu": 4.0,
        "epoch": 3,
        "averaged_epochs": 2,
    }
    said = capsys.readouterr().out
    assert "val_bleu of 2 epochs averaged: 4.0000; best epoch: 3.0000 (epoch 2)" in said
    assert not unfinished(folder).exists()


@pytest.mark.slow
def test_the_moving_average_is_what_is_scored_and_saved(tmp_path):
    """One step in an epoch; the average begins with the weights after the first."""
    raw, averaged = [], []
    task = make()
    train(task, tmp_path / "raw", metric=noting(raw, task, 1.0, 2.0), epochs=2)
    task = make()
    metric = noting(averaged, task, 1.0, 2.0)
    train(task, tmp_path / "task", metric=metric, epochs=2, ema=0.75)
    saved = Translator.load(tmp_path / "task").model.get_weights()
    for one, two, *averages in zip(*raw, averaged[1], saved, task.model.get_weights(), strict=True):
        for average in averages:
            np.testing.assert_allclose(average, 0.75 * one + 0.25 * two, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_r_drop_has_every_pair_twice(tmp_path):
    """Without dropout the two passes are equal, and so nothing is added to the cross-entropy."""
    losses = []
    for r_drop in (None, 5.0):
        task = make()
        history = train(task, tmp_path / str(r_drop), epochs=1, label_smoothing=0.2, r_drop=r_drop)
        losses.append(history.history["loss"][0])
    assert (task.model.loss.alpha, task.model.loss.label_smoothing) == (5.0, 0.2)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
def test_bfloat16_trains_what_is_saved_in_float32(tmp_path):
    weights = []
    for bfloat16 in (False, True):
        task = make()
        train(task, tmp_path / str(bfloat16), epochs=1, bfloat16=bfloat16)
        saved = Translator.load(tmp_path / str(bfloat16)).model
        assert {layer.compute_dtype for layer in saved._flatten_layers()} == {"float32"}
        weights.append(np.concatenate([weight.ravel() for weight in saved.get_weights()]))
    assert 0 < np.abs(weights[1] - weights[0]).max() < 0.1


@pytest.mark.slow
def test_risk_that_was_cut_off_goes_on(tmp_path):
    """With the same candidates as a training that was not."""
    options = {"risk": 1.0, "label_smoothing": 0.2, "epochs": 3}
    whole, scored = make(letters="ABCDE"), []
    train(whole, tmp_path / "whole", metric=exact, **options)
    assert (whole.model.loss.weight, whole.model.loss.label_smoothing) == (1.0, 0.2)

    def until_the_second_epoch(hypotheses, references):
        scored.append(len(hypotheses))
        if scored.count(len(PAIRS)) == 2:
            raise SystemExit
        return exact(hypotheses, references)

    with pytest.raises(SystemExit):
        train(make(letters="ABCDE"), tmp_path / "task", metric=until_the_second_epoch, **options)
    resumed = make(5, letters="ABCDE")
    train(resumed, tmp_path / "task", metric=exact, **options)
    assert int(resumed.model.optimizer.iterations) == int(whole.model.optimizer.iterations)
    for got, expected in zip(
        resumed.model.trainable_weights, whole.model.trainable_weights, strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


def test_the_optimizer_of_each_decay(tmp_path):
    linear = fit_module._adam("linear", 0.5, 2, 4, None)
    assert (linear.beta_2, linear.epsilon, linear.use_ema) == (0.999, 1e-7, False)
    assert [float(linear._learning_rate(step)) for step in (0, 1, 3)] == [0.25, 0.5, 0.25]
    inverse = fit_module._adam("inverse_sqrt", 0.5, 2, 4, 0.9)
    assert (inverse.beta_2, inverse.epsilon) == (0.98, 1e-9)
    assert (inverse.use_ema, inverse.ema_momentum) == (True, 0.9)
    rates = [float(inverse._learning_rate(step)) for step in (0, 1, 7)]
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.25], rtol=1e-6)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"decay": "cosine"}, "decay='cosine'"),
        ({"average": 0}, "average=0"),
        ({"ema": 1.0}, "ema=1.0"),
        ({"r_drop": -1}, "alpha=-1"),
        ({"risk": -1}, "weight=-1"),
        ({"risk": 1, "r_drop": 5}, "risk=1, r_drop=5"),
        ({"ema": 0.9, "average": 2}, "ema=0.9, average=2"),
    ],
)
def test_bad_arguments_stop_it_before_it_begins(options, said, tmp_path):
    with pytest.raises(ValueError, match=f"Received: {said}"):
        train(make(), tmp_path / "task", **options)
    assert not unfinished(tmp_path / "task").exists()


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
