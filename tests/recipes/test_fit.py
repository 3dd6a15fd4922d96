"""Tests of `fit`: saving the best task, resuming, and interruption by Ctrl-C."""

import keras
import numpy as np
import pytest

from keras_attention.generation import GreedySearch
from keras_attention.models import seq2seq, transformer
from keras_attention.ops.ids import START
from keras_attention.recipes import TrainingConfig, fit, resume_folder
from keras_attention.recipes.fit import _default_metric, _optimizer
from keras_attention.tasks import Translator
from keras_attention.text import CharacterTokenizer
from keras_attention.training import MaskedCrossEntropy
from keras_attention.utils.atomic_io import read_json

PAIRS = [("a", "A"), ("b", "B"), ("aa", "AA"), ("bb", "BB")]
SOURCES = [source for source, _ in PAIRS]


def make_task(seed=0, letters="AB", dropout=0.0):
    keras.utils.set_random_seed(seed)
    source, target = CharacterTokenizer.train(["ab"]), CharacterTokenizer.train([letters])
    model = seq2seq(source.vocabulary_size, target.vocabulary_size, 16, 32, dropout=dropout)
    return Translator(model, source, target, GreedySearch(max_new_tokens=4), 8)


def train(task, folder, **options):
    defaults = dict(epochs=3, batch_size=4, max_length=8, learning_rate=0.01, warmup_steps=1)
    return fit(task, PAIRS, PAIRS, folder, TrainingConfig(**{**defaults, **options}))


def exact_match(hypotheses, references):
    return float(np.mean([a == b for a, b in zip(hypotheses, references, strict=True)]))


class ScriptedMetric:
    """A metric that returns prescribed scores; an exception class is raised instead."""

    def __init__(self, *scores):
        self.scores = list(scores)
        self.outputs = []

    def __call__(self, hypotheses, references):
        self.outputs.append(hypotheses)
        score = self.scores.pop(0)
        if isinstance(score, type):
            raise score
        return score


def recording_metric(recorded, task, *scores):
    """A `ScriptedMetric` that also records the weights that are scored."""
    scripted = ScriptedMetric(*scores)

    def metric(hypotheses, references):
        recorded.append(task.model.get_weights())
        return scripted(hypotheses, references)

    return metric


def assert_weights_equal(model, expected):
    for got, want in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(got, want)


def score_of(folder):
    """Returns `training.json` without the number that identifies the training."""
    content = read_json(folder / "training.json")
    return {name: value for name, value in content.items() if name != "run_id"}


@pytest.mark.slow
def test_trained_task_is_saved_and_works(tmp_path):
    options = dict(epochs=60, learning_rate=0.05, label_smoothing=0.0, validation_freq=30)
    history = train(
        make_task(), tmp_path / "task", metric=exact_match, metric_name="val_exact", **options
    )
    assert history.history["loss"][-1] < 0.1 * history.history["loss"][0]
    assert max(history.history["val_exact"]) == 1.0
    loaded = Translator.load(tmp_path / "task")
    assert loaded(SOURCES) == [target for _, target in PAIRS]
    assert not resume_folder(tmp_path / "task").exists()


@pytest.mark.usefixtures("eager")
def test_a_packed_model_is_trained_on_rows_of_several_pairs(tmp_path):
    """One row has all pairs, and the loss of each of them alone."""
    task = make_task()
    source, target = task.source_tokenizer, task.target_tokenizer
    sizes = source.vocabulary_size, target.vocabulary_size
    options = dict(num_layers=1, hidden_dim=16, intermediate_dim=16, num_heads=2, dropout=0.0)
    packed, plain = (transformer(*sizes, packed=packed, **options) for packed in (True, False))
    plain.set_weights(packed.get_weights())
    labels = np.array(target.encode([target for _, target in PAIRS]))  # (4, 3)
    inputs = {
        "source": np.array(source.encode(SOURCES)),
        "target": np.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=START) * (labels != 0),
    }
    expected = float(MaskedCrossEntropy(0.1)(labels, plain(inputs)))
    packed_task = Translator(packed, source, target, GreedySearch(max_new_tokens=4), 8)
    options = dict(epochs=1, max_length=12, metric=ScriptedMetric(1.0, 1.0))
    history = train(packed_task, tmp_path / "task", batch_size=None, batch_tokens=23, **options)
    np.testing.assert_allclose(history.history["loss"], expected, rtol=1e-5)
    assert int(packed.optimizer.iterations) == 1
    for sizes in ({"batch_size": 4, "batch_tokens": 24}, {"batch_tokens": 11}, {}):
        with pytest.raises(ValueError, match="at least `max_length`.* Received: batch_size="):
            train(packed_task, tmp_path / "new", **{"batch_size": None, **sizes, **options})


@pytest.mark.usefixtures("eager")
def test_best_epoch_is_saved_rather_than_last(tmp_path):
    task, metric = make_task(), ScriptedMetric(1.0, 3.0, 2.0)
    train(task, tmp_path / "task", metric=metric, learning_rate=0.3, decay="inverse_sqrt")
    assert len(metric.outputs) == 3
    saved = Translator.load(tmp_path / "task")
    assert saved(SOURCES) == metric.outputs[1]
    weights = zip(saved.model.get_weights(), task.model.get_weights(), strict=True)
    assert any((a != b).any() for a, b in weights)
    assert read_json(tmp_path / "task" / "training.json")["epoch"] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_patience_counts_epochs_before_an_interruption(tmp_path):
    """The third epoch, which was interrupted while it was scored, is repeated."""
    options = {"epochs": 9, "patience": 3}
    with pytest.raises(SystemExit):
        metric = ScriptedMetric(2.0, 1.0, SystemExit)
        train(make_task(), tmp_path / "task", metric=metric, **options)
    history = train(make_task(), tmp_path / "task", metric=ScriptedMetric(1.5, 1.0), **options)
    assert history.epoch == [0, 1, 2, 3]
    assert read_json(tmp_path / "task" / "training.json")["epoch"] == 1


@pytest.mark.slow(cases=1)
@pytest.mark.parametrize(
    "options",
    [
        {"average_checkpoints": 2, "decay": "inverse_sqrt", "r_drop_alpha": 5},
        {"ema_momentum": 0.5, "batch_tokens": 32},
    ],
)
def test_resumed_training_equals_uninterrupted_training(options, tmp_path):
    """With several batches in an epoch and dropout, whose order and seeds must continue."""
    folder = tmp_path / "task"
    options = {"epochs": 4, "batch_size": 1, **options}
    whole = make_task(dropout=0.3)
    train(whole, tmp_path / "whole", metric=ScriptedMetric(1.0, 3.0, 2.0, 2.5, 2.0), **options)

    with pytest.raises(SystemExit):
        metric = ScriptedMetric(1.0, 3.0, SystemExit)
        train(make_task(dropout=0.3), folder, metric=metric, **options)
    best = Translator.load(folder)(SOURCES)
    assert resume_folder(folder).is_dir()
    other_settings = {
        "batch_size": 2,
        "batch_tokens": 8,
        "decay": "linear",
        "average_checkpoints": 3,
        "ema_momentum": None,
        "r_drop_alpha": None,
        "patience": 2,
        "bleu_tokenize": "char",
        "jit_compile": True,
    }
    for name, value in other_settings.items():
        if name in options or name in ("patience", "bleu_tokenize", "jit_compile"):
            with pytest.raises(ValueError, match=f"Received: different {name}"):
                train(make_task(dropout=0.3), folder, **{**options, name: value})
    with pytest.raises(ValueError, match="Received: different layers"):
        train(make_task(dropout=0.2), folder, **options)
    resumed, metric = make_task(seed=5, dropout=0.3), ScriptedMetric(2.0, 2.5, 2.0)
    history = train(resumed, folder, metric=metric, **options)
    assert history.epoch == [0, 1, 2, 3] and history.history["val_bleu"][:3] == [1.0, 3.0, 2.0]
    assert int(resumed.model.optimizer.iterations) == int(whole.model.optimizer.iterations) == 16
    assert_weights_equal(resumed.model, whole.model)
    assert Translator.load(folder)(SOURCES) == best
    assert read_json(folder / "training.json")["val_bleu"] == 3.0
    assert not resume_folder(folder).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_average_of_checkpoints_is_saved_if_it_scores_best(tmp_path, capsys):
    """Ctrl-C while the average is scored loses nothing: the same call scores it again."""
    folder, task, recorded = tmp_path / "task", make_task(), []
    options = {"epochs": 3, "average_checkpoints": 2, "learning_rate": 0.3}
    with pytest.raises(KeyboardInterrupt):
        metric = recording_metric(recorded, task, 1.0, 3.0, 2.0, KeyboardInterrupt)
        train(task, folder, metric=metric, **options)
    assert score_of(folder) == {"val_bleu": 3.0, "epoch": 2}
    again = make_task(seed=5)
    history = train(again, folder, metric=recording_metric(recorded, again, 4.0), **options)
    assert history.epoch == [0, 1, 2]
    _, second, third, interrupted, average = recorded
    saved = Translator.load(folder).model.get_weights()
    for two, three, *means in zip(second, third, interrupted, average, saved, strict=True):
        expected = np.mean([two, three], axis=0, dtype="float64")
        for mean in means:
            np.testing.assert_allclose(mean, expected, rtol=1e-6, atol=1e-7)
    assert score_of(folder) == {
        "val_bleu": 4.0,
        "epoch": 3,
        "averaged_epochs": 2,
    }
    printed = capsys.readouterr().out
    assert "val_bleu of 2 epochs averaged: 4.0000; best epoch: 3.0000 (epoch 2)" in printed
    assert not resume_folder(folder).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_moving_average_is_scored_and_saved(tmp_path):
    """With one step per epoch; the average begins with the weights after the first."""
    raw, averaged = [], []
    task = make_task()
    train(task, tmp_path / "raw", metric=recording_metric(raw, task, 1.0, 2.0), epochs=2)
    task = make_task()
    metric = recording_metric(averaged, task, 1.0, 2.0)
    train(task, tmp_path / "task", metric=metric, epochs=2, ema_momentum=0.75)
    saved = Translator.load(tmp_path / "task").model.get_weights()
    for one, two, *averages in zip(*raw, averaged[1], saved, task.model.get_weights(), strict=True):
        for average in averages:
            np.testing.assert_allclose(average, 0.75 * one + 0.25 * two, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_r_drop_without_dropout_adds_nothing_to_the_loss(tmp_path):
    """The two passes of a batch are then equal, and their divergence is 0."""
    losses = []
    for alpha in (None, 5.0):
        task = make_task()
        options = dict(epochs=1, label_smoothing=0.2, r_drop_alpha=alpha)
        history = train(task, tmp_path / str(alpha), **options)
        losses.append(history.history["loss"][0])
    assert (task.model.loss.alpha, task.model.loss.label_smoothing) == (5.0, 0.2)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_bfloat16_training_saves_float32(tmp_path):
    weights = []
    for bfloat16 in (False, True):
        task = make_task()
        train(task, tmp_path / str(bfloat16), epochs=1, bfloat16=bfloat16)
        saved = Translator.load(tmp_path / str(bfloat16)).model
        assert {layer.compute_dtype for layer in saved._flatten_layers()} == {"float32"}
        weights.append(np.concatenate([weight.ravel() for weight in saved.get_weights()]))
    assert 0 < np.abs(weights[1] - weights[0]).max() < 0.1


@pytest.mark.slow
def test_resumed_minimum_risk_training_draws_the_same_candidates(tmp_path):
    options = {"risk_weight": 1.0, "label_smoothing": 0.2, "epochs": 3}
    whole, calls = make_task(letters="ABCDE"), []
    train(whole, tmp_path / "whole", metric=exact_match, **options)
    assert (whole.model.loss.weight, whole.model.loss.label_smoothing) == (1.0, 0.2)

    def interrupt_second_epoch(hypotheses, references):
        calls.append(len(hypotheses))
        if calls.count(len(PAIRS)) == 2:
            raise SystemExit
        return exact_match(hypotheses, references)

    with pytest.raises(SystemExit):
        task = make_task(letters="ABCDE")
        train(task, tmp_path / "task", metric=interrupt_second_epoch, **options)
    resumed = make_task(5, letters="ABCDE")
    train(resumed, tmp_path / "task", metric=exact_match, **options)
    assert int(resumed.model.optimizer.iterations) == int(whole.model.optimizer.iterations)
    assert_weights_equal(resumed.model, whole.model)


def test_optimizer_of_each_decay():
    options = {"learning_rate": 0.5, "warmup_steps": 2}
    linear = _optimizer(TrainingConfig(decay="linear", **options), steps=4)
    assert (linear.beta_2, linear.epsilon, linear.use_ema) == (0.999, 1e-7, False)
    assert [float(linear._learning_rate(step)) for step in range(4)] == [0.25, 0.5, 0.25, 0.0]
    no_decay = _optimizer(TrainingConfig(**options), steps=2)
    assert [float(no_decay._learning_rate(step)) for step in range(2)] == [0.25, 0.5]
    config = TrainingConfig(decay="inverse_sqrt", ema_momentum=0.9, **options)
    inverse = _optimizer(config, steps=4)
    assert (inverse.beta_2, inverse.epsilon) == (0.98, 1e-9)
    assert (inverse.use_ema, inverse.ema_momentum) == (True, 0.9)
    rates = [float(inverse._learning_rate(step)) for step in (0, 1, 7)]
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.25], rtol=1e-6)


@pytest.mark.parametrize(
    "options, received",
    [
        ({"decay": "cosine"}, "decay='cosine'"),
        ({"average_checkpoints": 0}, "average_checkpoints=0"),
        ({"ema_momentum": 1.0}, "ema_momentum=1.0"),
        ({"r_drop_alpha": -1}, "alpha=-1"),
        ({"risk_weight": -1}, "weight=-1"),
        ({"risk_weight": 1, "r_drop_alpha": 5}, "risk_weight=1, r_drop_alpha=5"),
        (
            {"ema_momentum": 0.9, "average_checkpoints": 2},
            "ema_momentum=0.9, average_checkpoints=2",
        ),
        ({"bleu_tokenize": "13b"}, "tokenize='13b'"),
    ],
)
def test_invalid_options_fail_before_training(options, received, tmp_path):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        train(make_task(), tmp_path / "task", **options)
    assert not resume_folder(tmp_path / "task").exists()


def test_batch_size_defaults_to_the_limit_of_tokens():
    assert TrainingConfig().max_batch_size == 64
    assert TrainingConfig(batch_tokens=4096).max_batch_size == 4096
    assert TrainingConfig(batch_tokens=4096, batch_size=8).max_batch_size == 8


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_ctrl_c_after_a_score_leaves_the_best_task(tmp_path):
    metric = ScriptedMetric(3.0, 1.0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        train(make_task(), tmp_path / "task", metric=metric)
    assert Translator.load(tmp_path / "task")(SOURCES) == metric.outputs[0]


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_ctrl_c_before_a_score_leaves_the_current_task(tmp_path):
    task = make_task()
    with pytest.raises(KeyboardInterrupt):
        train(task, tmp_path / "task", metric=ScriptedMetric(KeyboardInterrupt))
    assert Translator.load(tmp_path / "task")(SOURCES) == task(SOURCES)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_ctrl_c_before_a_score_keeps_an_older_task(tmp_path):
    older = make_task(seed=3)
    older.save(tmp_path / "task")
    with pytest.raises(KeyboardInterrupt):
        train(make_task(), tmp_path / "task", metric=ScriptedMetric(KeyboardInterrupt))
    saved = Translator.load(tmp_path / "task").model.get_weights()
    for got, expected in zip(saved, older.model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_last_task_is_saved_without_a_score(tmp_path):
    task = make_task()
    train(task, tmp_path / "task", epochs=1, validation_freq=2)
    assert Translator.load(tmp_path / "task")(SOURCES) == task(SOURCES)


def test_unrelated_folder_is_refused_before_training(tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(ValueError, match="must be new, empty, or contain task.json"):
        train(make_task(), tmp_path)
    assert (tmp_path / "letter").read_text() == "dear"


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_default_metric_is_bleu(tmp_path):
    history = train(make_task(), tmp_path / "task", epochs=1)
    assert 0 <= history.history["val_bleu"][0] <= 100
    bleu_score = _default_metric(TrainingConfig())
    assert bleu_score(["a b c d"], ["a b c d"]) == pytest.approx(100)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.usefixtures("eager")
def test_weights_that_are_not_finite_end_the_training(tmp_path):
    with pytest.raises(ValueError, match="must be finite.*Received: .*=nan in epoch 1"):
        train(make_task(), tmp_path / "task", learning_rate=1e300)  # one step; its loss is finite
    assert not (tmp_path / "task").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_score_that_is_not_finite_keeps_the_best_task(tmp_path):
    with pytest.raises(ValueError, match="Received: val_bleu=inf in epoch 2"):
        train(make_task(), tmp_path / "task", metric=ScriptedMetric(1.0, float("inf")))
    assert score_of(tmp_path / "task") == {"val_bleu": 1.0, "epoch": 1}
