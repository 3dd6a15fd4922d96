"""Transformer blocks of encoder and decoder, as in figure 1 of Vaswani et al. 2017."""

from typing import Any, TypeVar

import keras

from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.feed_forward import FeedForward
from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.residual import Residual
from keras_attention.layers.self_attention import MultiHeadSelfAttention, self_attention_mask
from keras_attention.layers.validation import check_divides
from keras_attention.ops.attention import Memory
from keras_attention.ops.heads import CacheStep, KVCache
from keras_attention.types import Mask, Tensor
from keras_attention.utils.validation import check_positive


class TransformerBlock(keras.layers.Layer):
    """Base class of the Transformer blocks: self-attention, feed-forward network, options.

    Args:
        num_heads: Number of attention heads; must divide the size of the input.
        intermediate_dim: Size of the hidden layer of the feed-forward network.
        dropout: Dropout rate applied to each sub-layer's output.
        attention_dropout: Dropout rate applied to the attention weights.
        intermediate_dropout: Dropout rate applied to the hidden layer of the feed-forward network.
        norm: Placement of the normalization, `"pre"`, `"post"` or `"sandwich"`; see `Residual`.
        norm_kind: `"layer"` or `"rms"`.
        activation: Activation of the feed-forward network; see `FeedForward`.
        num_key_value_heads: Number of heads of key and value; see `MultiHeadAttention`, as for the
            following options.
        use_bias: Whether the linear layers have a bias.
        qk_norm: Whether to normalize the heads of query and key.
        soft_cap: Bound of the attention scores, or `None`.
        window: Size of the window of self-attention, or `None`.
        positions: A `PositionEncoding` for self-attention, or `None`.
        stochastic_depth: Probability of skipping a sub-layer during training (Huang et al. 2016).
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.
    """

    def __init__(
        self,
        num_heads: int,
        intermediate_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        intermediate_dropout: float = 0.0,
        norm: str = "pre",
        norm_kind: str = "layer",
        activation: str = "relu",
        num_key_value_heads: int | None = None,
        use_bias: bool = True,
        qk_norm: bool = False,
        soft_cap: float | None = None,
        window: int | None = None,
        positions: PositionEncoding | None = None,
        stochastic_depth: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.intermediate_dropout = intermediate_dropout
        self.norm = norm
        self.norm_kind = norm_kind
        self.activation = activation
        self.num_key_value_heads = num_key_value_heads
        self.use_bias = use_bias
        self.qk_norm = qk_norm
        self.soft_cap = soft_cap
        self.window = window
        self.positions = positions
        self.stochastic_depth = stochastic_depth
        self.feed_forward = FeedForward(
            intermediate_dim,
            activation,
            intermediate_dropout,
            use_bias,
            name="feed_forward",
            dtype=self.dtype_policy,
        )
        self.self_attention_residual = self._make_residual("self_attention_residual")
        self.feed_forward_residual = self._make_residual("feed_forward_residual")
        self.supports_masking = True

    def _make_residual(self, name):
        return Residual(
            self.norm,
            self.norm_kind,
            self.dropout,
            self.stochastic_depth,
            name=name,
            dtype=self.dtype_policy,
        )

    def _attention_options(self, width):
        """Returns the options shared by self-attention and cross-attention."""
        check_divides(self.num_heads, width)
        return {
            "num_heads": self.num_heads,
            "key_dim": width // self.num_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "dropout": self.attention_dropout,
            "use_bias": self.use_bias,
            "qk_norm": self.qk_norm,
            "soft_cap": self.soft_cap,
            "dtype": self.dtype_policy,
        }

    def build(self, x_shape):
        self.self_attention = MultiHeadSelfAttention(
            **self._attention_options(x_shape[-1]),
            window=self.window,
            positions=self.positions,
            name="self_attention",
        )
        for layer in (
            self.self_attention,
            self.feed_forward,
            self.self_attention_residual,
            self.feed_forward_residual,
        ):
            build_if_needed(layer, x_shape)
        self.built = True

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "intermediate_dropout": self.intermediate_dropout,
            "norm": self.norm,
            "norm_kind": self.norm_kind,
            "activation": self.activation,
            "num_key_value_heads": self.num_key_value_heads,
            "use_bias": self.use_bias,
            "qk_norm": self.qk_norm,
            "soft_cap": self.soft_cap,
            "window": self.window,
            "positions": keras.saving.serialize_keras_object(self.positions),
            "stochastic_depth": self.stochastic_depth,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "positions"))


@keras.saving.register_keras_serializable(package="keras_attention")
class EncoderBlock(TransformerBlock):
    """Encoder block of the Transformer: self-attention, then a feed-forward network.

    Vaswani et al. 2017, figure 1, left.

    Args:
        num_heads, intermediate_dim, ...: See `TransformerBlock`.

    Call arguments:
        x: Sequence, `(B, T, D)`.
        mask: Bool `(B, T)`, True means attend; the Keras mask of `x` by default.
        attention_mask: Bool `(B, T, T)`, or of a shape that broadcasts to it.
        position_bias: `PositionEncoding` shared by all blocks of a stack, such as
            `RelativePositionBias`, or `None`.
        return_attention_scores: Whether to return the pair `(x, weights)`.
        training: Whether to apply dropout.

    Returns:
        The output `(B, T, D)`, or the pair of it and the attention weights `(B, H, T, T)`.

    Raises:
        ValueError: If `num_heads` does not divide the size of the input, or an option is unknown.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> import numpy as np
    >>> block = EncoderBlock(num_heads=2, intermediate_dim=32)
    >>> tuple(block(np.ones((2, 3, 16), "float32")).shape)
    (2, 3, 16)
    """

    def call(
        self,
        x: Tensor,
        mask: Mask = None,
        attention_mask: Mask = None,
        position_bias: PositionEncoding | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        mask = self_attention_mask(x, mask, attention_mask)
        training = bool(training)

        y, weights, _ = self.self_attention.attend_to_self(
            self.self_attention_residual.before(x),
            mask=mask,
            position_bias=position_bias,
            return_weights=return_attention_scores,
            training=training,
        )
        x = self.self_attention_residual.after(x, y, training)
        y = self.feed_forward(self.feed_forward_residual.before(x), training=training)
        x = self.feed_forward_residual.after(x, y, training)
        return (x, weights) if return_attention_scores else x


@keras.saving.register_keras_serializable(package="keras_attention")
class DecoderBlock(TransformerBlock):
    """Decoder block of the Transformer: causal self-attention, cross-attention, feed-forward.

    Vaswani et al. 2017, figure 1, right. Without cross-attention it is the block of a decoder-only
    model (Radford et al. 2018).

    Args:
        num_heads, intermediate_dim, ...: See `TransformerBlock`.
        cross_attention: Whether the block attends to the outputs of an encoder.

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
            A `Memory`, or `None` without cross-attention.
        """
        if not self.has_cross_attention:
            return None
        check_encoded(encoded)
        return self.cross_attention.memory(encoded, mask=mask)

    def full_pass(
        self,
        x: Tensor,
        memory: Memory | None,
        *,
        mask: Mask,
        positions: Tensor | None = None,
        position_bias: PositionEncoding | None = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> tuple[Tensor, Tensor | None, KVCache]:
        """Processes all positions of a sequence at once.

        Args:
            x: `(B, T, D)`.
            memory: From `memory`.
            mask: Mask of self-attention including the causal mask, bool `(B, T, T)`.
            positions: Positions of `x`, int `(T,)` or `(B, T)`; 0, 1, 2, ... by default.
            position_bias: See the call arguments.
            return_weights: Whether to return the attention weights.
            training: Whether to apply dropout.

        Returns:
            `(x, weights, cache)`: the output `(B, T, D)`, the attention weights of the call or
            `None` unless requested, and the keys and values of self-attention `(B, G, T, D)`.
        """
        y, weights, cache = self.self_attention.attend_to_self(
            self.self_attention_residual.before(x),
            mask=mask,
            positions=positions,
            position_bias=position_bias,
            return_weights=return_weights,
            training=training,
        )
        x = self.self_attention_residual.after(x, y, training)
        if memory is not None:
            y, weights, _ = self.cross_attention.attend(
                self.cross_attention_residual.before(x),
                memory,
                return_weights=return_weights,
                training=training,
            )
            x = self.cross_attention_residual.after(x, y, training)
        y = self.feed_forward(self.feed_forward_residual.before(x), training=training)
        x = self.feed_forward_residual.after(x, y, training)
        return x, weights, cache

    def step(
        self,
        x: Tensor,
        memory: Memory | None,
        cache: KVCache,
        step: CacheStep,
        *,
        position_bias: PositionEncoding | None = None,
        return_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, KVCache]:
        """Processes one new position of each beam.

        Args:
            x: `(B, K, D)`.
            memory: From `memory`, shared by all beams.
            cache: Keys and values of earlier positions, `(B, K, G, L, D)`.
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
            y, weights, _ = self.cross_attention.attend(
                self.cross_attention_residual.before(x), memory, return_weights=return_weights
            )
            x = self.cross_attention_residual.after(x, y)
        y = self.feed_forward(self.feed_forward_residual.before(x))
        x = self.feed_forward_residual.after(x, y)
        return x, weights, cache

    def get_config(self) -> dict:
        return {**super().get_config(), "cross_attention": self.has_cross_attention}


BlockT = TypeVar("BlockT", bound=TransformerBlock)


def make_blocks(
    block_class: type[BlockT],
    num_layers: int,
    *,
    stochastic_depth: float = 0.0,
    **options: Any,
) -> list[BlockT]:
    """Builds the blocks of a stack, all with the same options.

    The rate of stochastic depth increases linearly from 0 in the first block (Huang et al. 2016,
    section 3).

    Args:
        block_class: `EncoderBlock` or `DecoderBlock`.
        num_layers: Number of blocks.
        stochastic_depth: Rate of stochastic depth in the last block.
        **options: Other arguments of the block.

    Returns:
        List of blocks, for `TransformerEncoder`, `TransformerDecoder` or `CausalLMDecoder`.

    Raises:
        ValueError: If `num_layers` is not positive, or an option is invalid.

    Example:

    >>> blocks = make_blocks(
    ...     EncoderBlock, num_layers=3, num_heads=2, intermediate_dim=32, stochastic_depth=0.2
    ... )
    >>> [block.stochastic_depth for block in blocks]
    [0.0, 0.1, 0.2]
    """
    check_positive("num_layers", num_layers)
    return [
        block_class(
            stochastic_depth=stochastic_depth * depth / max(num_layers - 1, 1),
            name=f"block_{depth}",
            **options,
        )
        for depth in range(num_layers)
    ]


def check_encoded(encoded: Any) -> None:
    """Raises a `ValueError` if cross-attention has nothing to attend to."""
    if encoded is None:
        raise ValueError(
            "`encoded` is required by a block with cross-attention; a block without it has "
            "cross_attention=False. Received: encoded=None"
        )
