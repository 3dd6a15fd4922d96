"""Transformer decoder of an encoder-decoder model."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.decoder_block import DecoderBlock
from keras_attention.layers.embedding import TokenEmbedding, check_output
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.transformer import (
    DecoderStack,
    deserialize_stack_config,
    get_stack_config,
)
from keras_attention.ops import masks
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.beam_cache import CacheState
from keras_attention.ops.segments import target_segments
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerDecoder(keras.layers.Layer):
    """Transformer decoder: token embedding, decoder blocks, output projection.

    Vaswani et al. 2017, figure 1, right.

    Args:
        embedding: A `TokenEmbedding` with an output projection.
        blocks: List of `DecoderBlock`s; `layers.make_blocks` builds equal ones.
        position_bias: A `PositionEncoding` whose bias the self-attention of all blocks shares, such
            as `RelativePositionBias`, or `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        target_ids: Target ids, int `(B, T)`, padded with 0.
        encoded: Dictionary of `"sequence"`, the outputs of the encoder, `(B, S, E)`.
        encoded_mask: Bool `(B, S)`, True means attend.
        source_segments: Int `(B, S)`, for rows of several pairs, each of whose targets begins with
            START: the number of the text of each source position, as `ops.segments` counts them.
        training: Whether to apply dropout.

    Returns:
        Logits of the next token at every position, `(B, T, vocabulary_size)`.

    Raises:
        ValueError: If the embedding has no output projection, there is no block, or blocks share
            weights.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import DecoderBlock, TokenEmbedding
    >>> embedding = TokenEmbedding(12, 8, output="tied", scale=True, positions="sinusoidal")
    >>> blocks = [DecoderBlock(num_heads=2, intermediate_dim=16) for _ in range(2)]
    >>> decoder = TransformerDecoder(embedding, blocks)
    >>> encoded = {"sequence": np.ones((2, 5, 6), "float32")}
    >>> tuple(decoder(np.array([[1, 5, 6]] * 2), encoded).shape)
    (2, 3, 12)
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        blocks: Sequence[DecoderBlock],
        position_bias: PositionEncoding | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_output(embedding)
        self.embedding = embedding
        self.stack = DecoderStack(blocks, position_bias, name="stack", dtype=self.dtype_policy)

    @property
    def vocabulary_size(self) -> int:
        """Number of target ids."""
        return self.embedding.vocabulary_size

    @property
    def max_positions(self) -> int | None:
        """Number of learned positions, or `None` if there is no limit."""
        return self.embedding.max_positions

    @property
    def has_cache(self) -> bool:
        """True, as the state grows with the number of steps."""
        return True

    @property
    def blocks(self) -> list[DecoderBlock]:
        """Decoder blocks."""
        return self.stack.blocks

    def build(self, target_ids_shape, encoded_shape):
        build_if_needed(self.embedding, target_ids_shape)
        x_shape = (*target_ids_shape, self.embedding.embedding_dim)
        build_if_needed(self.stack, x_shape, encoded_shape["sequence"])
        self.built = True

    def compute_output_shape(self, target_ids_shape, encoded_shape=None):
        return (*target_ids_shape, self.vocabulary_size)

    def call(
        self,
        target_ids: Tensor,
        encoded: dict[str, Tensor],
        encoded_mask: Mask = None,
        source_segments: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        x = self.output_vectors(target_ids, encoded, encoded_mask, source_segments, training)
        return self.embedding.logits(x)  # (B, T, V)

    def output_vectors(
        self,
        target_ids: Tensor,
        encoded: dict[str, Tensor],
        encoded_mask: Mask = None,
        source_segments: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Returns the vectors `(B, T, D)` that `embedding.logits` projects; arguments as `call`."""
        if isinstance(encoded_mask, dict):  # Keras passes a dictionary if the argument is omitted
            encoded_mask = encoded_mask["sequence"]
        target_mask = masks.padding_mask(target_ids)  # (B, T)
        mask, memory_mask = AttentionMask(keys=target_mask, causal=True), None
        positions = masks.positions_from_mask(target_mask)  # (B, T)
        if source_segments is not None:
            segments = target_segments(target_ids)  # (B, T)
            mask = mask._replace(query_segments=segments, key_segments=segments)
            memory_mask = AttentionMask(query_segments=segments, key_segments=source_segments)
            positions = masks.segment_positions(segments, target_mask)  # (B, T)
        x = self.embedding(target_ids, positions=positions, training=training)  # (B, T, D)
        memories = self.stack.memories(encoded["sequence"], encoded_mask)
        x, _ = self.stack.full_pass(
            x,
            memories,
            mask=mask,
            positions=positions,
            memory_mask=memory_mask,
            training=bool(training),
        )
        return x

    def start(
        self,
        encoded: dict[str, Tensor],
        encoded_mask: Mask = None,
        num_beams: int = 1,
        max_length: int = 64,
        cache_length: int | None = None,
    ) -> tuple[dict, CacheState]:
        """Prepares generation: projects the encoder outputs and creates empty caches.

        Args:
            encoded: Dictionary of `"sequence"`, the outputs of the encoder, `(B, S, E)`.
            encoded_mask: Bool `(B, S)`, True means attend.
            num_beams: Number of hypotheses per sequence, K.
            max_length: Maximum number of steps.
            cache_length: Number of steps that the caches have slots for, L; `max_length` by
                default. `grow` adds more when all are in use.

        Returns:
            `(constants, state)`: the `"memories"` of the blocks, and a `CacheState` with a cache of
            1 + L slots for each block, where a window limits L.

        Raises:
            ValueError: If there are more steps than learned positions.
        """
        # Index 0 of the caches is padding: XNNPACK refuses the product of an empty array, which the
        # past keys would be before caches grow for the second time.
        self.embedding.check_length(max_length, "the steps")
        sequence = encoded["sequence"]
        constants = {"memories": self.stack.memories(sequence, encoded_mask)}
        length = max_length if cache_length is None else cache_length
        return constants, self.stack.init_cache(ops.shape(sequence)[0], num_beams, 1 + length)

    def grow(self, state: CacheState, constants: dict, length: Tensor) -> CacheState:
        """Returns the caches with slots for `length` steps, an int or an int32 scalar."""
        return self.stack.grow(state, 1 + length)

    def step(
        self,
        ids: Tensor,
        position: Tensor,
        state: CacheState,
        constants: dict,
        return_weights: bool = False,
    ) -> tuple[Tensor, CacheState, Tensor | None]:
        """Computes one step of every beam.

        Args:
            ids: Last token of each beam, int `(B, K)`.
            position: Int scalar, the number of tokens before it.
            state: From `start` or the previous step.
            constants: From `start`.
            return_weights: Whether to return the attention weights.

        Returns:
            `(logits, state, weights)`: logits `(B, K, vocabulary_size)`, the next state, and the
            cross-attention weights of the last block, averaged over its heads, `(B, K, S)`, or
            `None` unless requested.
        """
        positions = ops.reshape(position, (1, 1))
        x = self.embedding(ids, positions=positions)  # (B, K, D)
        x, weights, state = self.stack.step(
            x,
            constants["memories"],
            state,
            position + 1,
            positions,
            return_weights=return_weights,
        )
        return self.embedding.logits(x), state, weights

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            **get_stack_config(self.stack),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_stack_config(config, "embedding"))
