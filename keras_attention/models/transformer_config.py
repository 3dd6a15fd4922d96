"""Hyperparameters and parts that the builders of Transformer models share."""

import dataclasses
from typing import Any, TypeVar

from keras_attention.layers import (
    AlibiBias,
    DecoderBlock,
    EncoderBlock,
    RelativePositionBias,
    RotaryEmbedding,
    TextEncoder,
    TokenEmbedding,
    TransformerEncoder,
    make_blocks,
)
from keras_attention.layers.embedding import POSITIONS as EMBEDDING_POSITIONS
from keras_attention.layers.positions import PositionEncoding

POSITIONS = (*EMBEDDING_POSITIONS, "rotary", "relative", "alibi")

Block = TypeVar("Block", EncoderBlock, DecoderBlock)


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Hyperparameters of a Transformer, by size.

    `transformer`, `causal_lm`, `masked_lm`, `classifier` and `tagger` take a `size`, and any of the
    arguments below in place of the size's:

    | `size` | layers | `hidden_dim` | `intermediate_dim` | heads | dropout | from |
    | --- | --- | --- | --- | --- | --- | --- |
    | `"tiny"` | 4 | 128 | 256 | 4 | 0.3 | Wu et al. 2021, section 4.2 |
    | `"small"` | 6 | 512 | 1024 | 4 | 0.3 | Wu et al. 2021, section 4.2 |
    | `"base"` | 6 | 512 | 2048 | 8 | 0.1 | Vaswani et al. 2017, table 3 |
    | `"big"` | 6 | 1024 | 4096 | 16 | 0.3 | Vaswani et al. 2017, table 3 |

    | `positions` | position encoding | paper |
    | --- | --- | --- |
    | `"sinusoidal"` | added to the embedding | Vaswani et al. 2017 |
    | `"marian"` | the same, sines before cosines | Junczys-Dowmunt et al. 2018 |
    | `"learned"` | a table, added to the embedding | Gehring et al. 2017 |
    | `"rotary"` | `RotaryEmbedding` in self-attention | Su et al. 2021 |
    | `"relative"` | `RelativePositionBias` in self-attention | Raffel et al. 2020 |
    | `"alibi"` | `AlibiBias` in self-attention | Press et al. 2022 |
    | `None` | none | |

    Args:
        num_layers: number of blocks, of the encoder and of the decoder each.
        hidden_dim: width of the embeddings and of the blocks' outputs.
        intermediate_dim: width of the hidden layer of the feed-forward sub-layers.
        num_heads: number of heads of every attention.
        dropout: dropout rate of the embeddings and of every sub-layer's output.
        norm: `"pre"`, `"post"` or `"sandwich"`; see `layers.Residual`.
        positions: see the table.
        max_length: number of positions of `"learned"`.
        block_options: further arguments of `layers.EncoderBlock` and `layers.DecoderBlock`, such as
            `norm_kind`, `activation`, `num_key_value_heads` or `window`.

    Raises:
        ValueError: If `positions` is unknown.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762); Wu et
        al. 2021, [Good for Misconceived Reasons](https://arxiv.org/abs/2105.14462).

    Example:

    >>> config = TransformerConfig.from_size("tiny", num_layers=2, activation="gelu")
    >>> config.num_layers, config.hidden_dim, config.block_options
    (2, 128, {'activation': 'gelu'})
    """

    num_layers: int
    hidden_dim: int
    intermediate_dim: int
    num_heads: int
    dropout: float
    norm: str = "pre"
    positions: str | None = "sinusoidal"
    max_length: int = 512
    block_options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.positions not in POSITIONS:
            raise ValueError(
                f"`positions` must be one of {POSITIONS}. Received: positions={self.positions!r}"
            )

    @classmethod
    def from_size(cls, size: str, **options: Any) -> "TransformerConfig":
        """Returns the config of a named size, with options in place of its values.

        Args:
            size: `"tiny"`, `"small"`, `"base"` or `"big"`.
            **options: arguments of `TransformerConfig`, where None means the size's value
                (except `positions=None`), and further arguments of the blocks.

        Raises:
            ValueError: If `size` or `positions` is unknown.
        """
        if size not in SIZES:
            raise ValueError(f"`size` must be one of {sorted(SIZES)}. Received: size={size!r}")
        fields = {field.name for field in dataclasses.fields(cls)} - {"block_options"}
        values = {name: options.pop(name) for name in fields & set(options)}
        values = {name: x for name, x in values.items() if x is not None or name == "positions"}
        return dataclasses.replace(SIZES[size], **values, block_options=options)

    def make_embedding(self, vocabulary_size: int, output: str | None = None) -> TokenEmbedding:
        """Returns a token embedding, with positions if they are added to it.

        Args:
            vocabulary_size: number of ids.
            output: whether it also computes logits; see `TokenEmbedding`.
        """
        return TokenEmbedding(
            vocabulary_size,
            embedding_dim=self.hidden_dim,
            output=output,
            scale=True,
            positions=self.positions if self.positions in EMBEDDING_POSITIONS else None,
            max_length=self.max_length,
            dropout=self.dropout,
        )

    def make_blocks(self, block_class: type[Block], **options: Any) -> list[Block]:
        """Returns the blocks of a stack.

        Args:
            block_class: `EncoderBlock` or `DecoderBlock`.
            **options: further arguments of the blocks.
        """
        return make_blocks(
            block_class,
            self.num_layers,
            num_heads=self.num_heads,
            intermediate_dim=self.intermediate_dim,
            dropout=self.dropout,
            norm=self.norm,
            positions=self._block_positions(),
            **self.block_options,
            **options,
        )

    def make_position_bias(self, causal: bool = False) -> RelativePositionBias | None:
        """Returns the position bias that all blocks of a stack share, or None.

        Args:
            causal: whether queries attend only to earlier keys.
        """
        if self.positions != "relative":
            return None
        return RelativePositionBias(self.num_heads, bidirectional=not causal)

    def make_encoder(self, embedding: TokenEmbedding) -> TextEncoder:
        """Returns a Transformer encoder of token ids.

        Args:
            embedding: from `make_embedding`.
        """
        body = TransformerEncoder(self.make_blocks(EncoderBlock), self.make_position_bias())
        return TextEncoder(embedding, body, name="encoder")

    def _block_positions(self) -> PositionEncoding | None:
        if self.positions == "rotary":
            return RotaryEmbedding()
        if self.positions == "alibi":
            return AlibiBias(self.num_heads)
        return None


SIZES = {
    "tiny": TransformerConfig(
        num_layers=4, hidden_dim=128, intermediate_dim=256, num_heads=4, dropout=0.3
    ),
    "small": TransformerConfig(
        num_layers=6, hidden_dim=512, intermediate_dim=1024, num_heads=4, dropout=0.3
    ),
    "base": TransformerConfig(
        num_layers=6, hidden_dim=512, intermediate_dim=2048, num_heads=8, dropout=0.1
    ),
    "big": TransformerConfig(
        num_layers=6, hidden_dim=1024, intermediate_dim=4096, num_heads=16, dropout=0.3
    ),
}
