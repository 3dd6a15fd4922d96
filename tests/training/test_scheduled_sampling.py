import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.training.scheduled_sampling import (
    ExponentialDecay,
    InverseSigmoidDecay,
    LinearDecay,
)

STEPS = np.array([0, 1, 10, 1000, 20000, 10**6, 10**7])


def values(schedule):
    return np.array([float(schedule(int(step))) for step in STEPS])


@pytest.mark.parametrize("k, c, floor", [(1.0, 1e-4, 0.0), (1.2, 1e-3, 0.25), (0.9, 1e-2, 0.1)])
def test_linear_decay(k, c, floor):
    expected = np.minimum(1.0, np.maximum(floor, k - c * STEPS))
    np.testing.assert_allclose(values(LinearDecay(k, c, floor)), expected, rtol=1e-6)


@pytest.mark.parametrize("k", [0.5, 0.999, 0.99999])
def test_exponential_decay(k):
    np.testing.assert_allclose(values(ExponentialDecay(k)), k**STEPS, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("k", [1.0, 50.0, 3000.0])
def test_inverse_sigmoid_decay(k):
    with np.errstate(over="ignore"):
        expected = k / (k + np.exp(STEPS / k))
    np.testing.assert_allclose(values(InverseSigmoidDecay(k)), expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize(
    "made", [LinearDecay(1.0, 0.1, 0.2), ExponentialDecay(0.9), InverseSigmoidDecay(5.0)]
)
def test_config_round_trip(made):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert type(again) is type(made)
    assert again.get_config() == made.get_config()
    assert float(again(3)) == float(made(3))


@pytest.mark.parametrize(
    "schedule", [LinearDecay(1.0, 0.1, 0.2), ExponentialDecay(0.9), InverseSigmoidDecay(5.0)]
)
def test_schedule_of_a_variable_is_a_float32_scalar(schedule):
    step = keras.Variable(3, dtype="int32", trainable=False)
    probability = schedule(step)
    assert keras.backend.standardize_dtype(probability.dtype) == "float32"
    assert tuple(probability.shape) == ()
    assert float(probability) == float(schedule(ops.convert_to_tensor(3, "int32")))


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match="Received: k=0"):
        LinearDecay(k=0)
    with pytest.raises(ValueError, match="Received: c=0"):
        LinearDecay(c=0)
    with pytest.raises(ValueError, match="Received: floor=1"):
        LinearDecay(floor=1)
    with pytest.raises(ValueError, match="Received: k=1.0"):
        ExponentialDecay(1.0)
    with pytest.raises(ValueError, match="Received: k=0.5"):
        InverseSigmoidDecay(0.5)
