"""Base class of the Transformer blocks, and the list of blocks of a stack."""

from typing import Any, TypeVar

import keras

from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.feed_forward import FeedForward
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.residual import Residual
from keras_attention.layers.self_attention import MultiHeadSelfAttention
from keras_attention.layers.validation import check_divides
from keras_attention.utils.validation import check_positive


class TransformerBlock(keras.layers.Layer):
    """Base class of `EncoderBlock` and `DecoderBlock`: their options and the layers both have.

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

    >>> from keras_attention.layers import EncoderBlock
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
