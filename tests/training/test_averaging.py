import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.training.averaging import (
    AverageCheckpoints,
    MovingAverage,
    average_weights,
)


def counting_model(**options):
    """A model with one weight, which decreases by exactly 1 in every training step."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(1.0, **options), loss=lambda y_true, y_pred: y_pred)
    return model


def fit(model, *callbacks, epochs):
    """Trains with two steps per epoch."""
    x = np.ones((2, 1), "float32")
    model.fit(x, x, batch_size=1, epochs=epochs, callbacks=list(callbacks), verbose=0)


def weight(model):
    return ops.convert_to_numpy(model.weights[0]).item()


def record_weight(weights, model, stop_at=None):
    """Callback that appends the weight at the end of each epoch; it may stop training."""

    def append(epoch, logs):
        weights.append(weight(model))
        model.stop_training = epoch == stop_at

    return keras.callbacks.LambdaCallback(on_epoch_end=append)


class Stop(Exception):
    pass


def stop_after(epoch):
    def act(number, logs):
        if number == epoch:
            raise Stop

    return keras.callbacks.LambdaCallback(on_epoch_end=act)


def test_mean_is_computed_in_float64(tmp_path):
    """In float32, the small numbers would be lost in the sum with the large one."""
    rows = np.array([[2**25, 1.0], [1.0, 2.0], [2.0, 6.0]], "float32")
    paths = [tmp_path / f"{epoch}.npz" for epoch in range(3)]
    for epoch, path in enumerate(paths):
        np.savez(path, rows[epoch], np.array(epoch))
    mean, counter = average_weights(paths)
    np.testing.assert_array_equal(mean, rows.mean(axis=0, dtype="float64").astype("float32"))
    assert mean.dtype == "float32"
    assert counter == 2  # not floating-point, so that of the last file


def test_last_epochs_are_saved_and_averaged(tmp_path):
    model, weights = counting_model(), []
    fit(model, AverageCheckpoints(tmp_path, last=2), record_weight(weights, model), epochs=3)
    assert weights == [-2.0, -4.0, -6.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch-00002.npz",
        "epoch-00003.npz",
    ]
    assert weight(model) == -5.0


def test_resumed_training_uses_earlier_checkpoints(tmp_path):
    def callbacks(last=3):
        return (
            AverageCheckpoints(tmp_path / "epochs", last),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        )

    with pytest.raises(Stop):
        fit(counting_model(), *callbacks(), stop_after(1), epochs=4)
    model = counting_model()
    fit(model, *callbacks(), epochs=4)
    assert weight(model) == np.mean([-4.0, -6.0, -8.0])


def test_checkpoints_of_another_training_are_not_averaged(tmp_path):
    fit(counting_model(), AverageCheckpoints(tmp_path, last=3), epochs=3)
    model = counting_model()
    fit(model, AverageCheckpoints(tmp_path, last=3), epochs=1)
    assert weight(model) == -2.0


def test_half_precision_is_averaged_in_float32(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, dtype="bfloat16")])
    average = AverageCheckpoints(tmp_path, last=2)
    average.set_model(model)
    for epoch, value in enumerate([1.0, 2.0]):
        model.set_weights([np.full((1, 1), value), np.zeros(1)])
        average.on_epoch_end(epoch)
    assert [each.tolist() for each in average_weights(average.paths)] == [[[1.5]], [0.0]]


@pytest.mark.parametrize("stop_at", [None, 1])
def test_callbacks_see_the_moving_average_and_training_continues_without_it(stop_at):
    """The second case stops training before its last epoch."""
    model, weights = counting_model(use_ema=True, ema_momentum=0.5), []
    epochs = 2 if stop_at is None else 5
    fit(model, MovingAverage(), record_weight(weights, model, stop_at), epochs=epochs)
    # The weight is -1, -2, -3, -4; its average starts at -1 and then moves halfway each step.
    assert weights == [-1.5, -3.125]
    assert weight(model) == -3.125


def test_moving_average_continues_after_an_interruption(tmp_path):
    def train(*more, epochs=3):
        model, weights = counting_model(use_ema=True, ema_momentum=0.5), []
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        fit(model, backup, MovingAverage(), record_weight(weights, model), *more, epochs=epochs)
        return weights

    whole = train()
    with pytest.raises(Stop):
        train(stop_after(0))
    assert train() == whole[1:]
    assert len(whole) == 3


def test_invalid_inputs_raise(tmp_path):
    with pytest.raises(ValueError, match=r"Received: paths=\[\]"):
        average_weights([])
    np.savez(tmp_path / "a.npz", np.zeros(2))
    np.savez(tmp_path / "b.npz", np.zeros(3))
    with pytest.raises(ValueError, match="Received: .*b.npz' with other shapes"):
        average_weights([tmp_path / "a.npz", tmp_path / "b.npz"])
    with pytest.raises(ValueError, match="Received: last=0"):
        AverageCheckpoints(tmp_path, last=0)
    with pytest.raises(ValueError, match="Received: use_ema=False"):
        fit(counting_model(), MovingAverage(), epochs=1)
