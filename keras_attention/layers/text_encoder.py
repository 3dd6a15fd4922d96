"""Text encoder: token embedding, then an RNN or a Transformer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.embedding import TokenEmbedding
from keras_attention.layers.transformer import TransformerEncoder
from keras_attention.ops import masks
from keras_attention.ops.ids import check_ids


@keras.saving.register_keras_serializable(package="keras_attention")
class TextEncoder(keras.layers.Layer):
    """Text encoder: a token embedding followed by a sequence encoder.

    Padding is not counted in the positions, so it may be on either side of the text.

    Args:
        embedding: A `TokenEmbedding`; id 0 is padding.
        body: Sequence encoder called as `body(embedded, mask=mask)`, such as `RecurrentEncoder` or
            `TransformerEncoder`.
        reverse: Whether the body reads the tokens in reverse order (Sutskever et al. 2014, section
            3.3). The output is in the order of the ids in either case.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        ids: Token ids, int `(B, S)`, padded with 0.
        source_segments: Int `(B, S)`, for rows of several texts: the number of each id's text. The
            texts do not attend to each other.
        training: Whether to apply dropout.

    Returns:
        Outputs of the body, a dictionary with `"sequence"` of shape `(B, S, D)`. Their mask is
        `compute_mask(ids)`.

    Raises:
        ValueError: If there are `source_segments` and the body is not a `TransformerEncoder`, or
            `reverse` is set.

    References:
        Sutskever et al. 2014, [Sequence to Sequence Learning with Neural
        Networks](https://arxiv.org/abs/1409.3215).

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
        # Keras would attach the mask to one entry of the dictionary; callers pass it explicitly.
        self.supports_masking = False

    @property
    def vocabulary_size(self) -> int:
        """Number of source ids."""
        return self.embedding.vocabulary_size

    def build(self, ids_shape):
        build_if_needed(self.embedding, ids_shape)
        build_if_needed(self.body, (*ids_shape, self.embedding.embedding_dim))
        self.built = True

    def compute_output_spec(self, ids, source_segments=None, training=None):
        if source_segments is not None:
            self._check_packed()
        # Keras would trace the embedding with a length that learned positions may not cover.
        x = keras.KerasTensor((*ids.shape, self.embedding.embedding_dim), dtype=self.compute_dtype)
        return self.body.compute_output_spec(x)

    def call(self, ids: Any, source_segments: Any = None, training: bool | None = None):
        mask = masks.padding_mask(ids)  # (B, S)
        if source_segments is not None:
            return self._encode_packed(ids, mask, source_segments, training)
        positions = masks.positions_from_mask(mask)  # (B, S)
        x = self.embedding(ids, positions=positions, training=training)  # (B, S, E)
        if not self.reverse:
            return self.body(x, mask=mask, training=training)
        encoded = self.body(ops.flip(x, 1), mask=ops.flip(mask, 1), training=training)
        return {**encoded, "sequence": ops.flip(encoded["sequence"], 1)}

    def _encode_packed(self, ids, mask, segments, training):
        self._check_packed()
        positions = masks.segment_positions(segments, mask)  # (B, S)
        x = self.embedding(ids, positions=positions, training=training)  # (B, S, E)
        pairs = masks.segment_mask(segments, segments)  # (B, S, S)
        return self.body(x, mask=mask, attention_mask=pairs, training=training)

    def _check_packed(self):
        if self.reverse or not isinstance(self.body, TransformerEncoder):
            raise ValueError(
                "`source_segments` requires a `TransformerEncoder` and reverse=False. "
                f"Received: body={self.body!r}, reverse={self.reverse}"
            )

    def compute_mask(self, ids, previous_mask=None):
        return masks.padding_mask(ids)

    def source_input(self) -> Any:
        """Returns the `keras.Input` of a functional model: ids `(B, S)`."""
        return keras.Input((None,), dtype="int32", name="source")

    def check(self, ids: np.ndarray) -> None:
        """Raises a `ValueError` unless these are ids `(B, S)` within vocabulary and positions."""
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
