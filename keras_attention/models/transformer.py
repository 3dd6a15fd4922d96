"""The Transformer for sequence to sequence, in the sizes of the papers."""

from keras_attention.decoders import TransformerDecoder
from keras_attention.layers import (
    DecoderBlock,
    EncoderBlock,
    TextEncoder,
    TokenEmbedding,
    TransformerEncoder,
    make_blocks,
)
from keras_attention.models.encoder_decoder import EncoderDecoder
from keras_attention.models.sizes import (
    block_options,
    embedding_options,
    shared_position_bias,
    size_of,
)


def transformer(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    size: str = "base",
    *,
    num_layers: int | None = None,
    hidden_dim: int | None = None,
    intermediate_dim: int | None = None,
    num_heads: int | None = None,
    dropout: float | None = None,
    norm: str = "pre",
    positions: str | None = "sinusoidal",
    max_length: int = 512,
    share_embeddings: bool = False,
    name: str = "transformer",
    **block,
) -> EncoderDecoder:
    """Builds the encoder-decoder of Vaswani et al. 2017.

    | `size` | layers | dim | intermediate_dim | heads | dropout | from |
    | --- | --- | --- | --- | --- | --- | --- |
    | `"tiny"` | 4 + 4 | 128 | 256 | 4 | 0.3 | Wu et al. 2021, Transformer-Tiny |
    | `"small"` | 6 + 6 | 512 | 1024 | 4 | 0.3 | Wu et al. 2021, Transformer-Small |
    | `"base"` | 6 + 6 | 512 | 2048 | 8 | 0.1 | Vaswani et al. 2017, table 3 |
    | `"big"` | 6 + 6 | 1024 | 4096 | 16 | 0.3 | Vaswani et al. 2017, table 3 |

    | `positions` | | paper |
    | --- | --- | --- |
    | `"sinusoidal"` | added to the embedding | Vaswani et al. 2017 |
    | `"marian"` | the same, sines before cosines | Junczys-Dowmunt et al. 2018 |
    | `"learned"` | a table, added | Gehring et al. 2017 |
    | `"rotary"` | `RotaryEmbedding` in self-attention | Su et al. 2021 |
    | `"relative"` | `RelativePositionBias` in self-attention | Raffel et al. 2020 |
    | `"alibi"` | `AlibiBias` in self-attention | Press et al. 2022 |
    | `None` | none | |

    Output weights are the target embedding's.

    Args:
        source_vocabulary_size: number of source ids.
        target_vocabulary_size: number of target ids.
        size: see the table; the next five replace what it says.
        num_layers: blocks in the encoder, and in the decoder.
        hidden_dim: width of the model.
        intermediate_dim: hidden width of the feed-forward layers.
        num_heads: heads of every attention.
        dropout: rate on embeddings and on what every sub-layer gives.
        norm: `"pre"`, `"post"` as in the paper, or `"sandwich"`: see `layers.Residual`.
        positions: see the table.
        max_length: positions in the learned table.
        share_embeddings: whether source and target have one embedding (section 3.4).
        name: of the model.
        **block: further options of `layers.EncoderBlock` and `DecoderBlock`: `norm_kind`,
            `activation`, `num_key_value_heads`, `window` and so on.

    Returns:
        An `EncoderDecoder`, not compiled.

    Raises:
        ValueError: for an unknown size or option, heads that do not divide the width, or one
            embedding for two vocabularies of different sizes.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762); Wu et
        al. 2021, [Good for Misconceived Reasons](https://arxiv.org/abs/2105.14462).

    Example:

    >>> model = transformer(12, 14, size="tiny", num_layers=1, norm="post")
    >>> model.output_shape
    (None, None, 14)
    """
    sizes = size_of(
        size,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
        num_heads=num_heads,
        dropout=dropout,
    )
    if share_embeddings and source_vocabulary_size != target_vocabulary_size:
        raise ValueError(
            "share_embeddings: expected one vocabulary. Received: "
            f"source_vocabulary_size={source_vocabulary_size}, "
            f"target_vocabulary_size={target_vocabulary_size}"
        )
    embedded = embedding_options(sizes, positions, max_length)
    target_embedding = TokenEmbedding(target_vocabulary_size, output="tied", **embedded)
    source_embedding = (
        target_embedding if share_embeddings else TokenEmbedding(source_vocabulary_size, **embedded)
    )
    options = block_options(sizes, positions, norm=norm, **block)
    body = TransformerEncoder(
        make_blocks(EncoderBlock, **options), shared_position_bias(sizes, positions)
    )
    decoder = TransformerDecoder(
        target_embedding,
        make_blocks(DecoderBlock, **options),
        shared_position_bias(sizes, positions, causal=True),
        name="decoder",
    )
    return EncoderDecoder(TextEncoder(source_embedding, body, name="encoder"), decoder, name=name)
