"""Token ids -> embedding -> any body that reads a sequence."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.config import deserialize_config
from keras_attention.layers.embedding import TokenEmbedding
from keras_attention.ops import masks
from keras_attention.ops.ids import check_ids


@keras.saving.register_keras_serializable(package="keras_attention")
class TextEncoder(keras.layers.Layer):
    """Embeds token ids and reads them with a body: `RecurrentEncoder`, `TransformerEncoder`.

    Positions are counted over what is not padding, so that padding on either side is the same.

    Args:
        embedding: a `TokenEmbedding`; id 0 is padding.
        body: layer called as `body(embedded, mask=mask)`.
        reverse: whether the body reads the source from its end (Sutskever et al. 2014, section
            3.3, https://arxiv.org/abs/1409.3215). What comes out keeps the source's order.

    Call arguments:
        ids: `(batch, source)` int.

    Returns:
        What the body returns: a dictionary whose `"sequence"` is `(batch, source, width)`. The
        mask that belongs to it is `compute_mask(ids)`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_attention.layers import RecurrentEncoder, TokenEmbedding
    >>> encoder = TextEncoder(TokenEmbedding(10, 4), RecurrentEncoder(keras.layers.GRUCell(3)))
    >>> tuple(encoder(np.array([[5, 6, 2], [7, 2, 0]]))["sequence"].shape)
    (2, 3, 6)
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        body: keras.layers.Layer,
        reverse: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.embedding = embedding
        self.body = body
        self.reverse = reverse
        # Keras would hang the mask on one entry of the dictionary; callers pass it on instead.
        self.supports_masking = False

    @property
    def vocabulary_size(self) -> int:
        """Number of ids."""
        return self.embedding.vocabulary_size

    def build(self, ids_shape):
        build_if_needed(self.embedding, ids_shape)
        build_if_needed(self.body, (*ids_shape, self.embedding.embedding_dim))
        self.built = True

    def compute_output_spec(self, ids, training=None):
        # Of the body alone: Keras tries ids of lengths that a learned table may not have.
        x = keras.KerasTensor((*ids.shape, self.embedding.embedding_dim), dtype=self.compute_dtype)
        return self.body.compute_output_spec(x)

    def call(self, ids, training=None):
        mask = masks.padding(ids)
        places = masks.positions(mask)
        x = self.embedding(ids, position=places, training=training)  # (B, S, E)
        if not self.reverse:
            return self.body(x, mask=mask, training=training)
        encoded = self.body(ops.flip(x, 1), mask=ops.flip(mask, 1), training=training)
        return {**encoded, "sequence": ops.flip(encoded["sequence"], 1)}

    def compute_mask(self, ids, previous_mask=None):
        return masks.padding(ids)

    def source_input(self) -> Any:
        """What a functional model reads: ids."""
        return keras.Input((None,), dtype="int32", name="source")

    def check(self, ids: np.ndarray) -> None:
        """Raises a `ValueError` unless these are ids (batch, source) that it can read."""
        check_ids(ids, self.vocabulary_size, "source")
        self.embedding.check_length(ids.shape[1], "the source")

    def get_config(self):
        return {
            **super().get_config(),
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "body": keras.saving.serialize_keras_object(self.body),
            "reverse": self.reverse,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "embedding", "body"))
