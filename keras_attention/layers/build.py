"""Building of layers that other layers receive."""

from typing import Any

import keras


def build_if_needed(layer: keras.layers.Layer, *shapes: Any, **options: Any) -> None:
    """Builds a layer, unless `from_config` has built it already."""
    if not layer.built:
        layer.build(*shapes, **options)
