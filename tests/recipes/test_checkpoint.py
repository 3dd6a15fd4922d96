"""Tests of checkpoints: contents, damage, and processes that are killed at each write."""

import os
import shutil
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_attention.recipes.checkpoint import (
    MANIFEST_FILE,
    Checkpoints,
    CopyState,
    Progress,
    SaveCheckpoint,
    completed_epochs,
)
from keras_attention.recipes.fit import _best_task
from keras_attention.recipes.resume import (
    check_settings,
    environment,
    remove_state,
    resume_folder,
    training_lock,
    warn_of_environment,
)
from keras_attention.recipes.save_best import SaveBestTask
from keras_attention.training.state import MODEL_FILE, TRAINING_FILE, read_state, restore_state
from keras_attention.utils import atomic_io
from keras_attention.utils.atomic_io import read_json, replace_folder, write_json

START = Progress(
    run_id="a",
    epoch=0,
    best=None,
    best_epoch=0,
    stopped=False,
    history={},
    settings={"epochs": 9},
    environment={},
)


def make_model(units=2):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(units), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def train_step(model):
    x = np.arange(24, dtype="float32").reshape(8, 3) / 24
    model.train_on_batch(x, x[:, :1])


def save_epochs(folder, number, keep_weights=1):
    checkpoints, model, states = Checkpoints(folder, keep_weights), make_model(), []
    for epoch in range(1, number + 1):
        for weight in model.weights:
            weight.assign(np.full(weight.shape, epoch))
        states.append(read_state(model))
        progress = Progress(**{**vars(START), "epoch": epoch, "best": 0.1, "best_epoch": epoch})
        checkpoints.save(states[-1], progress)
    return checkpoints, states


def assert_states_equal(state, expected):
    assert state.keys() == expected.keys()
    for name in expected:
        for one, two in zip(state[name], expected[name], strict=True):
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)


def flip_bit(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_state_has_dropout_and_optimizer_and_continues_the_same():
    model = make_model()
    train_step(model)
    state = read_state(model)
    train_step(model)
    expected = read_state(model)
    assert len(state[MODEL_FILE]) == len(model.weights) == 4
    # the seed of dropout, and of Adam iterations, learning rate and two moments for each weight
    assert len(state[TRAINING_FILE]) == 1 + 2 + 2 * 4
    other = make_model()
    restore_state(other, state)
    assert_states_equal(read_state(other), state)
    train_step(other)
    assert_states_equal(read_state(other), expected)


def test_bfloat16_variables_are_saved_exactly(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    model.weights[0].assign([[1 / 3, 2e30], [-1e-30, 7], [0, 1]])
    before = read_state(model)
    Checkpoints(tmp_path).save(before, START)
    state, _ = Checkpoints(tmp_path).load()
    model.weights[0].assign(np.zeros((3, 2)))
    restore_state(model, state)
    assert_states_equal(read_state(model), before)
    assert model.weights[0].dtype == "bfloat16"


def test_another_model_is_refused():
    with pytest.raises(ValueError, match=r"in model.npz must be those .*Received: \[\[\[3, 5\]"):
        restore_state(make_model(), read_state(make_model(units=5)))
    state = read_state(make_model())
    state[MODEL_FILE][1] = state[MODEL_FILE][1].astype("float64")
    with pytest.raises(ValueError, match="float64"):
        restore_state(make_model(), state)


def test_newest_checkpoint_is_loaded_and_two_are_kept(tmp_path):
    assert Checkpoints(tmp_path).load() is None
    checkpoints, states = save_epochs(tmp_path, 4)
    state, progress = checkpoints.load()
    assert_states_equal(state, states[-1])
    assert (progress.epoch, progress.best, progress.settings) == (4, 0.1, {"epochs": 9})
    assert [path.name for path in checkpoints.paths] == ["epoch-00003", "epoch-00004"]


def test_weights_are_kept_for_an_average(tmp_path):
    checkpoints, states = save_epochs(tmp_path, 6, keep_weights=3)
    files = checkpoints.weight_files(6)
    assert [file.parent.name for file in files] == ["epoch-00004", "epoch-00005", "epoch-00006"]
    assert [(path / TRAINING_FILE).exists() for path in checkpoints.paths] == [
        False,
        False,
        True,
        True,
    ]
    for file, state in zip(files, states[3:], strict=True):
        with np.load(file) as arrays:
            np.testing.assert_array_equal(arrays["arr_0"], state[MODEL_FILE][0])
    flip_bit(files[1], 200)
    with pytest.warns(
        UserWarning, match="missing in the average: .*epoch-00005/model.npz' must be"
    ):
        assert checkpoints.weight_files(6) == [files[0], files[2]]
    # the average of the checkpoint before the newest one is complete, too
    assert (tmp_path / "epoch-00003" / MODEL_FILE).exists()


@pytest.mark.parametrize("name", [MODEL_FILE, TRAINING_FILE, MANIFEST_FILE])
@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "missing"])
def test_damaged_checkpoint_is_not_loaded(tmp_path, name, damage):
    checkpoints, states = save_epochs(tmp_path, 2)

    def break_file(path):
        size = path.stat().st_size
        if damage == "bit":
            flip_bit(path, size // 2)
        elif damage == "missing":
            path.unlink()
        else:
            os.truncate(path, size // 2 if damage == "cut" else 0)

    break_file(tmp_path / "epoch-00002" / name)
    state, progress = checkpoints.load()
    assert progress.epoch == 1
    assert_states_equal(state, states[0])
    break_file(tmp_path / "epoch-00001" / name)
    with pytest.raises(ValueError, match=f"start anew, delete {tmp_path}. Received: .*epoch-0000"):
        checkpoints.load()


class Killed(BaseException):
    """Ends a training without its clean-up, as SIGKILL does."""


class FakeTask:
    """A task that consists of the weights of its model."""

    def __init__(self, model):
        self.model = model

    def save(self, folder, training):
        with replace_folder(folder) as new:
            np.savez(new / "weights.npz", *[weight.numpy() for weight in self.model.weights])
            write_json(new / "training.json", training)


SCORES = [1.0, 4.0, 2.0, 5.0]


def train(folder):
    """Trains for four epochs with the callbacks of `fit`; returns what is left at the end."""
    model = make_model()
    with training_lock(folder) as state_folder:
        checkpoints, start = Checkpoints(state_folder), START
        loaded = checkpoints.load()
        if loaded is not None:
            restore_state(model, loaded[0])
            start = loaded[1]
        best = _best_task(folder, "score", start)
        save_best = SaveBestTask(FakeTask(model), folder, "score", "a", *best)
        copy_state = CopyState()
        save = SaveCheckpoint(checkpoints, copy_state, save_best, start)
        for callback in (copy_state, save_best, save):
            callback.set_model(model)
        model.stop_training = False
        for epoch in range(start.epoch, 4):
            train_step(model)
            for callback in (copy_state, save_best, save):
                callback.on_epoch_end(epoch, {"score": SCORES[epoch]})
        remove_state(folder)
    with np.load(folder / "weights.npz") as file:
        best_weights = [file[name] for name in file]
    return read_state(model), save.progress, read_json(folder / "training.json"), best_weights


WRITES = "os.open", "os.rename", "os.fsync", "shutil.rmtree", "numpy.savez", "tempfile.mkdtemp"


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.usefixtures("eager")
def test_training_killed_at_each_write_ends_the_same(tmp_path, monkeypatch, exchange):
    """The process ends before the n-th call, and the files stay as they are then."""
    if not exchange:
        monkeypatch.setattr(atomic_io, "_exchange", lambda *_: False)
    elif sys.platform != "linux":
        pytest.skip("only Linux exchanges two folders atomically")
    state, progress, score, best_weights = train(tmp_path / "whole")
    assert score == {"score": 5.0, "epoch": 4, "run_id": "a"}
    folder, kills, is_killed = tmp_path / "killed", 0, True
    while is_killed:
        calls, is_killed = 0, False

        def count(original, allowed=kills):
            def call(*args, **kwargs):
                nonlocal calls, is_killed
                calls += 1
                # once killed, nothing more is written, also not by `finally`
                if calls > allowed:
                    is_killed = True
                    raise Killed
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in WRITES:
                patch.setattr(name, count(_attribute(name)))
            try:
                result = train(folder)
            except Killed:
                pass
        if is_killed:
            result = train(folder)
        assert_states_equal(result[0], state)
        assert (result[1].history, result[1].best) == (progress.history, progress.best)
        assert result[2] == score
        for one, two in zip(result[3], best_weights, strict=True):
            np.testing.assert_array_equal(one, two)
        assert os.listdir(tmp_path) and not resume_folder(folder).exists()
        leftovers = [name for name in os.listdir(tmp_path) if name.startswith(".")]
        assert not leftovers, leftovers
        shutil.rmtree(folder)
        kills += 17
    assert kills > 50


def _attribute(name):
    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules[module], attribute)


def test_a_full_disk_leaves_what_was_complete(tmp_path, monkeypatch):
    """The third checkpoint cannot be written; once there is room, the training continues."""
    state, *_ = train(tmp_path / "whole")
    savez, calls = np.savez, []

    def full(file, *arrays):
        calls.append(file)
        if Path(file).parent.name.startswith(".epoch-00003"):
            Path(file).write_bytes(b"PK")
            raise OSError(28, "No space left on device")
        savez(file, *arrays)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="A checkpoint needs free space in .*No space left"):
            train(tmp_path / "full")
    assert completed_epochs(tmp_path / "full") == 2
    assert read_json(tmp_path / "full" / "training.json")["epoch"] == 2
    assert_states_equal(train(tmp_path / "full")[0], state)


def test_one_process_trains_in_a_folder(tmp_path):
    with training_lock(tmp_path / "a"):
        with training_lock(tmp_path / "b"):
            pass
        with pytest.raises(ValueError, match="Received: folder='.*a', where another process"):
            with training_lock(tmp_path / "a"):
                pass
    with training_lock(tmp_path / "a"):
        pass


def test_best_task_of_another_training_is_not_compared(tmp_path):
    start = Progress(**{**vars(START), "epoch": 3, "best": 9.0, "best_epoch": 2})
    write_json(tmp_path / "training.json", {"score": 9.5, "epoch": 4, "run_id": "a"})
    assert _best_task(tmp_path, "score", start) == (9.5, 4)  # the epoch that is repeated
    write_json(tmp_path / "training.json", {"score": 9.0, "epoch": 2, "run_id": "a"})
    assert _best_task(tmp_path, "score", start) == (9.0, 2)
    write_json(tmp_path / "training.json", {"score": 9.0, "epoch": 2, "run_id": "b"})
    with pytest.warns(UserWarning, match="no longer holds the best task"):
        assert _best_task(tmp_path, "score", start) == (None, 0)


def test_settings_and_environment(tmp_path):
    check_settings({"a": 1}, {"a": 1}, tmp_path)
    with pytest.raises(ValueError, match="delete .*Received: different b, c"):
        check_settings({"a": 1, "b": 2, "c": 1}, {"a": 1, "b": 3}, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_environment(environment())
    with pytest.warns(UserWarning, match="another environment.*: keras 3.0 is now 3"):
        warn_of_environment({**environment(), "keras": "3.0"})
