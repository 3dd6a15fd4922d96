"""Encoder-only model: an encoder and a head."""

from typing import Any

import keras

from keras_attention.utils.compiled import recompile_on_layer_change


@keras.saving.register_keras_serializable(package="keras_attention")
@recompile_on_layer_change
class EncoderOnly(keras.Model):
    """Encoder-only model, a functional Keras model from ids to the outputs of its head.

    Ids are int32 `(batch, length)`, padded with 0 on either side; the mask is computed from them.

    Args:
        encoder: layer `encoder(ids) -> {"sequence": (batch, length, width), ...}` with
            `compute_mask(ids)`, such as `layers.TextEncoder`.
        head: layer `head(sequence, mask=mask)`: `layers.ClassifierHead` or `layers.TaggerHead`.

    Example:

    >>> import numpy as np
    >>> from keras_attention.models import classifier
    >>> model = classifier(12, num_classes=3, num_layers=1)
    >>> tuple(model(np.array([[5, 6, 2], [7, 2, 0]])).shape)
    (2, 3)
    """

    def __init__(self, encoder: keras.layers.Layer, head: keras.layers.Layer, **kwargs: Any):
        ids = keras.Input((None,), dtype="int32", name="ids")
        logits = head(encoder(ids)["sequence"], mask=encoder.compute_mask(ids))
        super().__init__(inputs=ids, outputs=logits, **kwargs)
        self.encoder = encoder
        self.head = head

    def get_config(self):
        return {
            "name": self.name,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "head": keras.saving.serialize_keras_object(self.head),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder, head = (
            keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "head")
        )
        return cls(encoder, head, name=config["name"])
