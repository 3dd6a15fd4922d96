"""Ids to vectors with their positions, and vectors back to logits."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.multi_head import as_positions
from keras_attention.layers.validation import check_positive
from keras_attention.ops.ids import check_vocabulary_size
from keras_attention.ops.positions import sinusoidal

# What `positions=` names: nothing, or the layout of the sinusoids, or a table that is learned.
SINUSOIDS = {"sinusoidal": "interleaved", "marian": "halves"}
POSITIONS = (None, *SINUSOIDS, "learned")


@keras.saving.register_keras_serializable(package="keras_attention")
class TokenEmbedding(keras.layers.Layer):
    """Token ids to vectors `E[id] * sqrt(D) + P[position]`, and back (Vaswani et al. 2017, 3.4).

    Args:
        vocabulary_size: number of ids.
        embedding_dim: D, width of the vectors.
        output: how `logits` turns vectors to logits: `"tied"` by the embedding itself (Press and
            Wolf 2017, https://arxiv.org/abs/1608.05859), `"separate"` by weights of its own, `None`
            not at all.
        scale: whether vectors are multiplied by `sqrt(D)`, and begin `D ** -0.5` as large.
        positions: what is added: `"sinusoidal"` (Vaswani et al. 2017, section 3.5), `"marian"`
            (the same, sines before cosines), `"learned"`, or `None`.
        max_length: positions in the learned table.
        dropout: rate on the sum.
        output_bias: whether each id has a bias in the logits.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        ids: (B, T) int.
        position: where they stand, int (B, T) or (1, T), or a scalar; `None` counts from 0.
        training: whether there is dropout.

    Returns:
        (B, T, dim).

    Raises:
        ValueError: if the vocabulary has no room for the four special ids, D is odd and there
            are sinusoids, an option is unknown, there is an output bias and no output, or more
            positions are asked for than the learned table has.

    Example:

    >>> import numpy as np
    >>> embedding = TokenEmbedding(10, 8, output="tied", scale=True, positions="sinusoidal")
    >>> x = embedding(np.array([[5, 6, 2]]))
    >>> tuple(x.shape), tuple(embedding.logits(x).shape)
    ((1, 3, 8), (1, 3, 10))
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        output: str | None = None,
        scale: bool = False,
        positions: str | None = None,
        max_length: int = 512,
        dropout: float = 0.0,
        output_bias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_vocabulary_size(vocabulary_size)
        check_positive("embedding_dim", embedding_dim)
        check_positive("max_length", max_length)
        if positions not in POSITIONS:
            raise ValueError(
                f"positions: expected one of {POSITIONS}. Received: positions={positions!r}"
            )
        if positions in SINUSOIDS and embedding_dim % 2:
            raise ValueError(
                f"embedding_dim: expected an even number for sinusoids. "
                f"Received: embedding_dim={embedding_dim}"
            )
        if output not in (None, "tied", "separate"):
            raise ValueError(
                f"output: expected 'tied', 'separate' or None. Received: output={output!r}"
            )
        if output_bias and output is None:
            raise ValueError(
                "output_bias: expected False without an output. Received: output=None, "
                "output_bias=True"
            )
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.output_kind = output
        self.scale = scale
        self.positions = positions
        self.max_length = max_length
        self.has_output_bias = output_bias
        options = {
            "embeddings_initializer": (
                keras.initializers.RandomNormal(stddev=embedding_dim**-0.5) if scale else "uniform"
            ),
            "name": "tokens",
            "dtype": self.dtype_policy,
        }
        if output is None:
            self.tokens = keras.layers.Embedding(vocabulary_size, embedding_dim, **options)
        else:
            self.tokens = keras.layers.ReversibleEmbedding(
                vocabulary_size,
                embedding_dim,
                tie_weights=output == "tied",
                # Keras would take the product in float32 and say that it did not.
                reverse_dtype=self.compute_dtype,
                **options,
            )
        self.tokens.supports_masking = True  # or it warns of every masked input
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, ids_shape=None):
        self.tokens.build(ids_shape)
        if self.positions == "learned":
            self.table = self.add_weight(
                shape=(self.max_length, self.embedding_dim), initializer="uniform", name="positions"
            )
        if self.has_output_bias:
            self.output_bias = self.add_weight(
                shape=(self.vocabulary_size,), initializer="zeros", name="output_bias"
            )
        self.built = True

    def call(self, ids, position=None, training=None):
        x = self.tokens(ids)  # (B, T, D)
        if self.scale:
            x = x * ops.cast(self.embedding_dim**0.5, x.dtype)
        if self.positions is not None:
            x = x + ops.cast(self._positions(ids, position), x.dtype)
        return self.dropout(x, training=training)

    def logits(self, x: Any):
        """Vectors (B, T, dim) to logits (B, T, vocabulary)."""
        logits = self.tokens(x, reverse=True)
        if self.has_output_bias:
            logits = logits + ops.cast(self.output_bias, logits.dtype)
        return logits

    def check_length(self, length: int, what: str) -> None:
        """Raises a `ValueError` if the learned table has not that many positions."""
        if self.positions == "learned" and length > self.max_length:
            raise ValueError(
                f"Expected at most max_length={self.max_length} positions, as many as the learned "
                f"table has. Received: {length} for {what}"
            )

    def _positions(self, ids, position):
        if ids.shape[1] is not None:
            self.check_length(ids.shape[1], "the ids")
        position = as_positions(position, ops.shape(ids)[1])
        if self.positions == "learned":
            return ops.take(self.table, position, axis=0)  # (B or 1, T, D)
        return sinusoidal(position, self.embedding_dim, SINUSOIDS[self.positions])

    def compute_output_shape(self, ids_shape):
        if ids_shape[1] is not None:
            self.check_length(ids_shape[1], "the ids")
        return (*ids_shape, self.embedding_dim)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
            "output": self.output_kind,
            "scale": self.scale,
            "positions": self.positions,
            "max_length": self.max_length,
            "dropout": self.dropout.rate,
            "output_bias": self.has_output_bias,
        }


def check_output(embedding: TokenEmbedding) -> None:
    """Raises a `ValueError` unless the embedding turns vectors to logits."""
    if embedding.output_kind is None:
        raise ValueError(
            "embedding: expected one with output='tied' or 'separate', which makes the logits. "
            "Received: output=None"
        )
