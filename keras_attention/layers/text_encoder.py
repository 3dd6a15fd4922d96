"""Token ids -> embedding -> any body that reads a sequence."""

import keras
from keras import ops

from keras_attention.layers.cells import build_once
from keras_attention.ops import masks
from keras_attention.ops.ids import check_vocabulary_size


@keras.saving.register_keras_serializable(package="keras_attention")
class TextEncoder(keras.layers.Layer):
    """Embeds token ids and reads them with a body such as `RecurrentEncoder`.

    Args:
        vocabulary_size: number of ids; id 0 is padding.
        embedding_dim: width of the embedding.
        body: layer called as `body(embedded, mask=mask)`.
        dropout: rate on the embedding.
        reverse: whether the body reads the source from its end (Sutskever et al. 2014, section
            3.3, https://arxiv.org/abs/1409.3215). What comes out keeps the source's order.

    Call arguments:
        ids: `(batch, source)` int.

    Returns:
        What the body returns: a dictionary whose `"sequence"` is `(batch, source, width)`. The
        mask that belongs to it is `compute_mask(ids)`.

    Raises:
        ValueError: if the vocabulary has no room for the four special ids.

    Example:

    >>> import keras, numpy as np
    >>> from keras_attention.layers import RecurrentEncoder
    >>> encoder = TextEncoder(10, 4, RecurrentEncoder(keras.layers.GRUCell(3)))
    >>> tuple(encoder(np.array([[5, 6, 2], [7, 2, 0]]))["sequence"].shape)
    (2, 3, 6)
    """

    def __init__(self, vocabulary_size, embedding_dim, body, dropout=0.0, reverse=False, **kwargs):
        super().__init__(**kwargs)
        check_vocabulary_size(vocabulary_size)
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.embedding = keras.layers.Embedding(
            vocabulary_size, embedding_dim, dtype=self.dtype_policy
        )
        self.body = body
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.reverse = reverse
        # Keras would hang the mask on one entry of the dictionary; callers pass it on instead.
        self.supports_masking = False

    def build(self, ids_shape):
        self.embedding.build(ids_shape)
        build_once(self.body, (*ids_shape, self.embedding_dim))
        self.built = True

    def call(self, ids, training=None):
        mask = masks.padding(ids)
        x = self.dropout(self.embedding(ids), training=training)  # (B, S, E)
        if not self.reverse:
            return self.body(x, mask=mask, training=training)
        encoded = self.body(ops.flip(x, 1), mask=ops.flip(mask, 1), training=training)
        return {**encoded, "sequence": ops.flip(encoded["sequence"], 1)}

    def compute_mask(self, ids, previous_mask=None):
        return masks.padding(ids)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
            "body": keras.saving.serialize_keras_object(self.body),
            "dropout": self.dropout.rate,
            "reverse": self.reverse,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "body": keras.saving.deserialize_keras_object(config["body"])})
