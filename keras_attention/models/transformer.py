"""Encoder-decoder Transformer."""

from typing import Any

from keras_attention.decoders import TransformerDecoder
from keras_attention.layers import DecoderBlock
from keras_attention.models.encoder_decoder import EncoderDecoder
from keras_attention.models.transformer_config import TransformerConfig


def transformer(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    size: str = "base",
    *,
    share_embeddings: bool = False,
    packed: bool = False,
    name: str = "transformer",
    **options: Any,
) -> EncoderDecoder:
    """Builds an encoder-decoder Transformer (Vaswani et al. 2017).

    The output weights are those of the target embedding.

    Args:
        source_vocabulary_size: number of source ids.
        target_vocabulary_size: number of target ids.
        size: `"tiny"`, `"small"`, `"base"` or `"big"`; see `TransformerConfig`.
        share_embeddings: whether source and target have one embedding (section 3.4).
        packed: whether a row may hold several pairs; see `EncoderDecoder`.
        name: name of the model.
        **options: arguments of `TransformerConfig` in place of the size's: `num_layers`,
            `hidden_dim`, `intermediate_dim`, `num_heads`, `dropout`, `norm`, `positions`,
            `max_length`; and arguments of `layers.EncoderBlock` and `layers.DecoderBlock`.

    Returns:
        An `EncoderDecoder`, not compiled.

    Raises:
        ValueError: If the size or an option is unknown or invalid, or `share_embeddings` is set for
            two vocabularies of different sizes.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> model = transformer(12, 14, size="tiny", num_layers=1, norm="post")
    >>> model.output_shape
    (None, None, 14)
    """
    config = TransformerConfig.from_size(size, **options)
    if share_embeddings and source_vocabulary_size != target_vocabulary_size:
        raise ValueError(
            "`share_embeddings` requires one vocabulary. Received: "
            f"source_vocabulary_size={source_vocabulary_size}, "
            f"target_vocabulary_size={target_vocabulary_size}"
        )
    target_embedding = config.make_embedding(target_vocabulary_size, output="tied")
    source_embedding = (
        target_embedding if share_embeddings else config.make_embedding(source_vocabulary_size)
    )
    encoder = config.make_encoder(source_embedding)
    decoder = TransformerDecoder(
        target_embedding,
        config.make_blocks(DecoderBlock),
        config.make_position_bias(causal=True),
        name="decoder",
    )
    return EncoderDecoder(encoder, decoder, packed, name=name)
