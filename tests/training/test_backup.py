"""Backups of trainings; `tests/distributed/` has those of several processes."""

import keras
import numpy as np
import pytest

from keras_attention.training import BackupTraining, SetEpoch, ShuffledBatches


def train(epochs, *callbacks, seed=0, units=3):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
    )
    model.add(keras.layers.Dense(1))
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    data = ShuffledBatches([((x, x[:, :1]), 8)], seed=2)
    callbacks = [SetEpoch(data), *callbacks]
    history = model.fit(data, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)
    return model.get_weights(), history.epoch


@pytest.mark.slow
def test_resumed_training_equals_an_uninterrupted_one(tmp_path):
    expected, _ = train(3)
    train(2, BackupTraining(tmp_path / "backup.npz"))
    # another seed: the weights, the optimizer and the seeds of dropout are those of the file
    weights, epochs = train(3, BackupTraining(tmp_path / "backup.npz"), seed=9)
    assert epochs == [2]
    for weight, value in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_completed_training_has_nothing_to_do(tmp_path):
    expected, _ = train(1, BackupTraining(tmp_path / "backup.npz"))
    weights, epochs = train(1, BackupTraining(tmp_path / "backup.npz"), seed=9)
    assert epochs == []
    np.testing.assert_array_equal(weights[0], expected[0])


def test_backup_of_another_model_is_refused(tmp_path):
    train(1, BackupTraining(tmp_path / "backup.npz"))
    with pytest.raises(ValueError, match="must be those of the model"):
        train(2, BackupTraining(tmp_path / "backup.npz"), units=2)


def test_damaged_backup_is_refused(tmp_path):
    path = tmp_path / "backup.npz"
    train(1, BackupTraining(path))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"must be an undamaged .npz file.*backup.npz"):
        train(2, BackupTraining(path))
