"""Layers inside a config: Keras writes them as dictionaries, `from_config` wants them made."""

import keras


def deserialize_config(config: dict, *names: str) -> dict:
    """The config with the entries of those names made from what Keras wrote of them.

    What is an object already stays, so that one can be shared.

    Example:

    >>> import keras
    >>> written = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    >>> deserialize_config({"body": written, "rate": 0.1}, "body")["body"].units
    3
    """
    return {
        **config,
        **{
            name: keras.saving.deserialize_keras_object(config[name])
            for name in names
            if isinstance(config[name], dict)
        },
    }
