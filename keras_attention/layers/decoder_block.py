"""Decoder block of the Transformer, as in figure 1 of Vaswani et al. 2017."""

from typing import Any

import keras

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.self_attention import self_attention_mask
from keras_attention.layers.transformer_block import TransformerBlock
from keras_attention.ops.attention import Memory
from keras_attention.ops.beam_cache import BeamCache, CacheStep
from keras_attention.ops.kv_cache import KVCache, as_factor
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class DecoderBlock(TransformerBlock):
    """Decoder block of the Transformer: causal self-attention, cross-attention, feed-forward.

    Vaswani et al. 2017, figure 1, right. Without cross-attention it is the block of a decoder-only
    model (Radford et al. 2018).

    Args:
        num_heads: Number of attention heads; must divide the size of the input.
        intermediate_dim: Size of the hidden layer of the feed-forward network.
        *args: Other arguments of `TransformerBlock`.
        cross_attention: Whether the block attends to the outputs of an encoder.
        **kwargs: Other arguments of `TransformerBlock`.

    Call arguments:
        x: Sequence, `(B, T, D)`.
        encoded: Outputs of the encoder, `(B, S, E)`; required with cross-attention.
        mask: Bool `(B, T)`, mask of `x`, True means attend.
        encoded_mask: Bool `(B, S)`, mask of `encoded`.
        attention_mask: Bool `(B, T, T)`, combined with the causal mask.
        position_bias: `PositionEncoding` shared by all blocks of a stack, such as
            `RelativePositionBias`, or `None`.
        return_attention_scores: Whether to return the pair `(x, weights)`.
        training: Whether to apply dropout.

    Returns:
        The output `(B, T, D)`, or the pair of it and the attention weights: of cross-attention,
        `(B, H, T, S)`, and without it of self-attention, `(B, H, T, T)`.

    Raises:
        ValueError: If `num_heads` does not divide the size of the input, an option is unknown, or
            there is cross-attention and no `encoded`.

    Example:

    >>> import numpy as np
    >>> block = DecoderBlock(num_heads=2, intermediate_dim=32)
    >>> x, encoded = np.ones((2, 3, 16), "float32"), np.ones((2, 5, 12), "float32")
    >>> tuple(block(x, encoded).shape)
    (2, 3, 16)
    """

    def __init__(
        self,
        num_heads: int,
        intermediate_dim: int,
        *args: Any,
        cross_attention: bool = True,
        **kwargs: Any,
    ):
        super().__init__(num_heads, intermediate_dim, *args, **kwargs)
        self.has_cross_attention = cross_attention
        if cross_attention:
            self.cross_attention_residual = self._make_residual("cross_attention_residual")

    def build(self, x_shape, encoded_shape=None):
        if self.has_cross_attention:
            check_encoded(encoded_shape)
            self.cross_attention = MultiHeadAttention(
                **self._attention_options(x_shape[-1]), name="cross_attention"
            )
            self.cross_attention.build(x_shape, encoded_shape)
            build_if_needed(self.cross_attention_residual, x_shape)
        super().build(x_shape)

    def call(
        self,
        x: Tensor,
        encoded: Tensor | None = None,
        mask: Mask = None,
        encoded_mask: Mask = None,
        attention_mask: Mask = None,
        position_bias: PositionEncoding | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        x, weights, _ = self.full_pass(
            x,
            self.memory(encoded, encoded_mask),
            mask=self_attention_mask(x, mask, attention_mask, use_causal_mask=True),
            position_bias=position_bias,
            return_weights=return_attention_scores,
            training=bool(training),
        )
        return (x, weights) if return_attention_scores else x

    def memory(self, encoded: Tensor | None, mask: Mask = None) -> Memory | None:
        """Projects the outputs of the encoder for cross-attention; call it once per sequence.

        Args:
            encoded: `(B, S, E)`.
            mask: Bool `(B, S)`, True means attend.

        Returns:
            A `Memory`, whose values are as `ops.kv_cache.as_factor` returns them, or `None` without
            cross-attention.
        """
        if not self.has_cross_attention:
            return None
        check_encoded(encoded)
        memory = self.cross_attention.memory(encoded, mask=mask)
        return memory._replace(values=as_factor(memory.values))

    def full_pass(
        self,
        x: Tensor,
        memory: Memory | None,
        *,
        memory_mask: Mask = None,
        return_weights: bool = False,
        training: bool = False,
        **self_attention: Any,
    ) -> tuple[Tensor, Tensor | None, KVCache]:
        """Processes all positions of a sequence, or several that follow those in a cache, at once.

        Args:
            x: `(B, T, D)`.
            memory: From `memory`.
            memory_mask: Mask of cross-attention, bool `(B, T, S)` or an `AttentionMask`, combined
                with that of the memory.
            return_weights: Whether to return the attention weights.
            training: Whether to apply dropout.
            **self_attention: Other arguments of `MultiHeadSelfAttention.attend_to_self`: `mask`,
                which includes the causal mask, `positions`, `position_bias` and `past`.

        Returns:
            `(x, weights, cache)`: the output `(B, T, D)`, the attention weights of the call or
            `None` unless requested, and the keys and values of self-attention `(B, G, S, D)`.
        """
        y, weights, cache = self.self_attention.attend_to_self(
            self.self_attention_residual.before(x),
            return_weights=return_weights,
            training=training,
            **self_attention,
        )
        x = self.self_attention_residual.after(x, y, training)
        if memory is not None:
            x, weights = self._attend_to_memory(
                x, memory, mask=memory_mask, return_weights=return_weights, training=training
            )
        y = self.feed_forward(self.feed_forward_residual.before(x), training=training)
        x = self.feed_forward_residual.after(x, y, training)
        return x, weights, cache

    def step(
        self,
        x: Tensor,
        memory: Memory | None,
        cache: BeamCache,
        step: CacheStep,
        *,
        position_bias: PositionEncoding | None = None,
        return_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, BeamCache]:
        """Processes one new position of each beam.

        Args:
            x: `(B, K, D)`.
            memory: From `memory`, shared by all beams.
            cache: Keys and values of earlier positions.
            step: Slot, positions and mask of the step.
            position_bias: See the call arguments.
            return_weights: Whether to return the attention weights.

        Returns:
            `(x, weights, cache)`: the output `(B, K, D)`, the attention weights of cross-attention
            `(B, H, K, S)` or without it of self-attention `(B, H, K, L)`, `None` unless requested,
            and the updated cache.
        """
        y, weights, cache = self.self_attention.attend_to_cache(
            self.self_attention_residual.before(x),
            cache,
            step,
            position_bias=position_bias,
            return_weights=return_weights,
        )
        x = self.self_attention_residual.after(x, y)
        if memory is not None:
            x, weights = self._attend_to_memory(x, memory, return_weights=return_weights)
        y = self.feed_forward(self.feed_forward_residual.before(x))
        x = self.feed_forward_residual.after(x, y)
        return x, weights, cache

    def _attend_to_memory(self, x, memory, *, mask=None, return_weights, training=False):
        """Runs cross-attention with its residual connection; returns `(x, weights)`."""
        y, weights, _ = self.cross_attention.attend(
            self.cross_attention_residual.before(x),
            memory._replace(values=as_factor(memory.values)),
            mask=mask,
            return_weights=return_weights,
            training=training,
        )
        return self.cross_attention_residual.after(x, y, training), weights

    def get_config(self) -> dict:
        return {**super().get_config(), "cross_attention": self.has_cross_attention}


def check_encoded(encoded: Any) -> None:
    """Raises a `ValueError` if cross-attention has nothing to attend to."""
    if encoded is None:
        raise ValueError(
            "`encoded` is required by a block with cross-attention; a block without it has "
            "cross_attention=False. Received: encoded=None"
        )
