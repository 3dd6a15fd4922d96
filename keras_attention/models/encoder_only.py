"""The model class of what reads and does not write: an encoder and a head."""

from typing import Any

import keras

from keras_attention.layers import (
    EncoderBlock,
    TextEncoder,
    TokenEmbedding,
    TransformerEncoder,
    make_blocks,
)
from keras_attention.models.sizes import (
    Size,
    block_options,
    embedding_options,
    shared_position_bias,
)


@keras.saving.register_keras_serializable(package="keras_attention")
class EncoderOnly(keras.Model):
    """A functional Keras model from ids to what its head gives.

    Ids are int32 `(batch, length)`, padded with 0 on either side, from which the mask is made.

    Args:
        encoder: layer `encoder(ids) -> {"sequence": (batch, length, width), ...}`, with
            `compute_mask(ids)`: a `TextEncoder` of any body.
        head: layer `head(sequence, mask=mask)`: `layers.ClassifierHead`, `layers.TaggerHead`.

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


def text_encoder(
    vocabulary_size: int,
    size: Size,
    positions: str | None = "sinusoidal",
    max_length: int = 512,
    output: str | None = None,
    **block: Any,
) -> TextEncoder:
    """The Transformer's encoder over an embedding of its own.

    Args:
        vocabulary_size: number of ids.
        size: from `size_of`.
        positions: as `transformer` names them.
        max_length: positions in the learned table.
        output: of the `TokenEmbedding`: whether and how it gives logits.
        **block: further options of `layers.EncoderBlock`.
    """
    embedding = TokenEmbedding(
        vocabulary_size, output=output, **embedding_options(size, positions, max_length)
    )
    blocks = make_blocks(EncoderBlock, **block_options(size, positions, **block))
    body = TransformerEncoder(blocks, shared_position_bias(size, positions))
    return TextEncoder(embedding, body, name="encoder")
