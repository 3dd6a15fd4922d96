import keras

from keras_attention.layers.config import deserialize_config


def test_layers_are_made_and_the_rest_stays():
    written = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    shared = keras.layers.Dense(4)
    config = {"body": written, "shared": shared, "positions": None, "other": written, "rate": 0.1}
    got = deserialize_config(config, "body", "shared", "positions")
    assert isinstance(got["body"], keras.layers.Dense) and got["body"].units == 3
    assert got["shared"] is shared
    assert got["positions"] is None
    assert got["other"] is written and got["rate"] == 0.1
    assert config["body"] is written
