"""Helpers for layers that hold other layers: building them, and reading them from a config."""

from typing import Any

import keras


def build_if_needed(layer: keras.layers.Layer, *shapes: Any, **options: Any) -> None:
    """Builds a layer, unless it is built already, as a shared layer is."""
    if not layer.built:
        layer.build(*shapes, **options)


def deserialize_config(config: dict, *names: str) -> dict:
    """Returns a config in which the serialized objects of those names are deserialized.

    Keras passes nested layers to `from_config` as dictionaries. An entry that is an object already
    stays as it is, so that several layers can share it.

    Args:
        config: a layer's config.
        *names: names of entries to deserialize.

    Returns:
        A new dictionary.

    Example:

    >>> import keras
    >>> body = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    >>> deserialize_config({"body": body, "rate": 0.1}, "body")["body"].units
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
