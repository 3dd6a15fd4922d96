"""Deserialization of layers inside a config."""

import keras

from keras_attention.layers.build import deserialize_config


def test_deserialize_config_changes_only_the_named_entries():
    serialized = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    shared = keras.layers.Dense(4)
    config = {
        "body": serialized,
        "shared": shared,
        "positions": None,
        "other": serialized,
        "rate": 0.1,
    }
    result = deserialize_config(config, "body", "shared", "positions")
    assert isinstance(result["body"], keras.layers.Dense) and result["body"].units == 3
    assert result["shared"] is shared
    assert result["positions"] is None
    assert result["other"] is serialized and result["rate"] == 0.1
    assert config["body"] is serialized
