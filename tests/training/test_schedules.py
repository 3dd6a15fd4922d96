import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.training.schedules import LinearWarmup, Noam


def test_noam_is_equation_3():
    rate = Noam(hidden_dim=512, warmup_steps=4000, scale=2.0)
    for step in [1, 10, 3999, 4000, 4001, 100000]:
        expected = 2 * 512**-0.5 * min(step**-0.5, step * 4000**-1.5)
        np.testing.assert_allclose(float(rate(step - 1)), expected, rtol=1e-6)


def test_noam_with_peak():
    rate = Noam.with_peak(0.005, warmup_steps=2000)
    for step in [1, 500, 2000, 2001, 8000]:
        expected = 0.005 * min(step / 2000, (2000 / step) ** 0.5)
        np.testing.assert_allclose(float(rate(step - 1)), expected, rtol=1e-6)


def test_linear_warmup_stays_at_its_peak():
    rate = LinearWarmup(0.5, warmup_steps=5)
    np.testing.assert_allclose(
        [float(rate(step)) for step in range(7)], [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5], rtol=1e-6
    )


def test_linear_warmup_decays_to_zero():
    rate = LinearWarmup(1.0, warmup_steps=2, decay_steps=4)
    np.testing.assert_allclose(
        [float(rate(step)) for step in range(8)],
        [0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0],
        atol=1e-7,
    )


@pytest.mark.parametrize(
    "rate", [Noam(16, 3), LinearWarmup(0.1, 3), LinearWarmup(0.1, 3, decay_steps=8)]
)
def test_optimizer_follows_the_schedule(rate):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(rate), loss=lambda y_true, y_pred: y_pred)
    before = ops.convert_to_numpy(model.layers[0].kernel).item()
    model.fit(np.ones((5, 1)), np.ones((5, 1)), batch_size=1, epochs=1, verbose=0)
    expected = before - sum(float(rate(step)) for step in range(5))
    after = ops.convert_to_numpy(model.layers[0].kernel).item()
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "made", [Noam(16, 3, scale=0.5), LinearWarmup(0.1, 3), LinearWarmup(0.1, 3, decay_steps=9)]
)
def test_config_round_trip(made):
    schedules = keras.optimizers.schedules
    again = schedules.deserialize(schedules.serialize(made))
    assert type(again) is type(made)
    assert again.get_config() == made.get_config()
    assert float(again(7)) == float(made(7))


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match="Received: hidden_dim=0"):
        Noam(0, 10)
    with pytest.raises(ValueError, match="Received: warmup_steps=0"):
        Noam(8, 0)
    with pytest.raises(ValueError, match="Received: scale=-1"):
        Noam(8, 10, scale=-1)
    with pytest.raises(ValueError, match="Received: peak=0"):
        Noam.with_peak(0, 10)
    with pytest.raises(ValueError, match="Received: peak=0"):
        LinearWarmup(0, 10)
    with pytest.raises(ValueError, match="Received: warmup_steps=0"):
        LinearWarmup(0.1, 0)
    with pytest.raises(ValueError, match="Received: decay_steps=-5"):
        LinearWarmup(0.1, 10, decay_steps=-5)
