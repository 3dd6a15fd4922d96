"""Token embedding with absolute positions, and its output projection to logits."""

from typing import Any

import keras
from keras import ops

from keras_attention.ops.ids import check_vocabulary_size
from keras_attention.ops.linear import project_transposed
from keras_attention.ops.positions import as_positions, sinusoidal
from keras_attention.utils.validation import check_positive

# Values of `positions` with sinusoids, and the order of their features.
SINUSOID_LAYOUTS = {"sinusoidal": "interleaved", "marian": "halves"}
POSITIONS = (None, *SINUSOID_LAYOUTS, "learned")


@keras.saving.register_keras_serializable(package="keras_attention")
class TokenEmbedding(keras.layers.Layer):
    """Token embedding with absolute positions and an optional output projection to logits.

        x = E[id] * sqrt(D) + P[position]        Vaswani et al. 2017, sections 3.4 and 3.5

    Args:
        vocabulary_size: Number of ids.
        embedding_dim: D, size of the embedding vectors.
        output: Weights of the output projection used by `logits`: `"tied"` shares the embedding
            matrix (Press and Wolf 2017), `"separate"` has its own matrix, `None` has no output
            projection.
        scale: Whether to multiply the embeddings by `sqrt(D)`. They are then initialized with a
            standard deviation of `1 / sqrt(D)`.
        positions: Position vectors `P`: `"sinusoidal"` (Vaswani et al. 2017, section 3.5),
            `"marian"` (the same with all sines before all cosines), `"learned"`, or `None`.
        max_length: Number of positions in the learned position table.
        dropout: Dropout rate applied to the sum.
        output_bias: Whether the output projection has a bias.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        ids: Token ids, int `(B, T)`.
        positions: Positions of the tokens, int `(B, T)` or `(1, T)`, or a scalar for all of them.
            `None` counts from 0.
        training: Whether to apply dropout.

    Returns:
        Embedded tokens, `(B, T, D)`.

    Raises:
        ValueError: If the vocabulary contains special tokens only, `embedding_dim` is
            odd and the positions are sinusoidal, an option is unknown, there is an output bias
            without an output projection, or there are more tokens than learned positions.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762). Press
        and Wolf 2017, [Using the Output Embedding to Improve Language
        Models](https://arxiv.org/abs/1608.05859).

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
                f"`positions` must be one of {POSITIONS}. Received: positions={positions!r}"
            )
        if positions in SINUSOID_LAYOUTS and embedding_dim % 2:
            raise ValueError(
                "`embedding_dim` must be even for sinusoidal positions. "
                f"Received: embedding_dim={embedding_dim}"
            )
        if output not in (None, "tied", "separate"):
            raise ValueError(
                f"`output` must be 'tied', 'separate' or None. Received: output={output!r}"
            )
        if output_bias and output is None:
            raise ValueError(
                "`output_bias` requires an output projection. Received: output=None, "
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
                # By default Keras computes the product in float32, even in mixed precision.
                reverse_dtype=self.compute_dtype,
                **options,
            )
        self.tokens.supports_masking = True  # avoids Keras's warning about masked inputs
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

    def call(self, ids: Any, positions: Any = None, training: bool | None = None):
        x = self.tokens(ids)  # (B, T, D)
        if self.scale:
            x = x * self.embedding_dim**0.5
        if self.positions is not None:
            if ids.shape[1] is not None:
                self.check_length(ids.shape[1], "the ids")
            positions = as_positions(positions, ops.shape(ids)[1])  # (B or 1, T)
            x = x + ops.cast(self.position_vectors(positions), x.dtype)
        return self.dropout(x, training=training)

    def logits(self, x: Any):
        """Returns the logits of the output projection.

        Args:
            x: Vectors, `(B, T, D)`.

        Returns:
            Logits, `(B, T, vocabulary_size)`.
        """
        is_tied = self.tokens.tie_weights and self.tokens.quantization_mode is None
        # Symbolic tensors build a functional model, which follows weights through layers only.
        if is_tied and not keras.utils.is_keras_tensor(x):
            x = ops.cast(x, self.compute_dtype)
            embeddings = ops.cast(self.tokens.embeddings, self.compute_dtype)  # (V, D)
            logits = project_transposed(x, embeddings)  # (B, T, V)
        else:
            logits = self.tokens(x, reverse=True)
        if self.has_output_bias:
            logits = logits + ops.cast(self.output_bias, logits.dtype)
        return logits

    def output_weights(self) -> tuple[Any, Any]:
        """Returns the weights of `logits`: kernel `(D, V)`, and bias `(V,)` or `None`."""
        if self.tokens.tie_weights:
            kernel = ops.transpose(ops.convert_to_tensor(self.tokens.embeddings))  # (D, V)
        else:
            kernel = ops.convert_to_tensor(self.tokens.reverse_embeddings)
        return kernel, self.output_bias if self.has_output_bias else None

    def position_vectors(self, positions: Any):
        """Returns the vectors `P` of positions, int `(B, T)` or `(1, T)`, each of size D."""
        if self.positions == "learned":
            return ops.take(self.table, positions, axis=0)  # (B or 1, T, D)
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        layout = SINUSOID_LAYOUTS[self.positions]  # type: ignore[index]  # the caller checks
        return sinusoidal(positions, self.embedding_dim, layout, dtype)

    @property
    def max_positions(self) -> int | None:
        """Number of learned positions, or `None` if there is no limit."""
        return self.max_length if self.positions == "learned" else None

    def check_length(self, length: int, description: str) -> None:
        """Raises a `ValueError` if there are more positions than the learned table holds.

        Args:
            length: Number of positions.
            description: Name of the sequence in the error message.
        """
        if self.max_positions is not None and length > self.max_positions:
            raise ValueError(
                "The learned position table holds at most "
                f"max_length={self.max_length} positions. Received: {length} for {description}"
            )

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
    """Raises a `ValueError` if the embedding has no output projection."""
    if embedding.output_kind is None:
        raise ValueError(
            "`embedding` must have an output projection, output='tied' or 'separate'. "
            "Received: output=None"
        )
