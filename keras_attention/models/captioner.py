"""Image captioning models: an image encoder and a text decoder."""

from typing import Any

import keras

from keras_attention.decoders import HardAttentionDecoder, RNNDecoder, TransformerDecoder
from keras_attention.layers import (
    BahdanauAttention,
    BahdanauDecoderCell,
    DecoderBlock,
    HardAttentionCell,
    ImageEncoder,
    LuongAttention,
    LuongDecoderCell,
    RecurrentDecoderCell,
    ResidualCNN,
    TokenEmbedding,
    make_blocks,
)
from keras_attention.models.encoder_decoder import EncoderDecoder
from keras_attention.models.seq2seq import stacked_cells

DECODERS = ("lstm", "transformer")
ATTENTIONS = ("soft", "hard", "luong", None)


def captioner(
    vocabulary_size: int,
    image_size: int | tuple[int, int] = 128,
    *,
    decoder: str = "lstm",
    attention: str | None = "soft",
    backbone: keras.layers.Layer | None = None,
    body: keras.layers.Layer | None = None,
    hidden_dim: int = 256,
    num_layers: int = 1,
    num_heads: int = 4,
    dropout: float = 0.3,
    doubly_stochastic: float = 1.0,
    positions: str | None = "sinusoidal",
    name: str = "captioner",
) -> EncoderDecoder:
    """Builds an image captioning model, whose decoder attends to the cells of a feature grid.

    | `decoder` | `attention` | |
    | --- | --- | --- |
    | `"lstm"` | `"soft"` | Bahdanau's decoder, with a gated context (Xu et al. 2015, section 4.2) |
    | `"lstm"` | `"hard"` | the same, with one sampled cell as context (section 4.1) |
    | `"lstm"` | `"luong"` | Luong's decoder (Luong et al. 2015) |
    | `"lstm"` | `None` | the mean of the cells is the initial state (Vinyals et al. 2015) |
    | `"transformer"` | `"soft"` | pre-norm Transformer decoder (Vaswani et al. 2017) |

    Args:
        vocabulary_size: number of ids of the captions.
        image_size: height and width of the images, or one number for both.
        decoder: `"lstm"` or `"transformer"`; see the table.
        attention: see the table; the Transformer's is multi-head attention, which is soft.
        backbone: layer from images to a grid of features: `layers.ResidualCNN`,
            `layers.KerasApplicationBackbone`, `layers.Patches` or any Keras model; None is a
            `ResidualCNN` with cells of 16 x 16 pixels.
        body: encoder over the cells, such as `layers.TransformerEncoder`, or None.
        hidden_dim: width of the embedding, and of the LSTM and its attention.
        num_layers: number of layers of the decoder.
        num_heads: number of attention heads of the Transformer decoder.
        dropout: dropout rate of embedding and readout, or of every sub-layer of the Transformer.
        doubly_stochastic: weight of the doubly stochastic loss (Xu et al. 2015, equation 14), with
            the LSTM's soft attention.
        positions: position vectors added to the cells; see `layers.ImageEncoder`.
        name: name of the model.

    Returns:
        An `EncoderDecoder`, not compiled. Its `source` is a batch of images `(batch, height, width,
        3)`, integers between 0 and 255.

    Raises:
        ValueError: If `decoder` or `attention` is unknown, they do not go together, or another
            option is invalid.

    References:
        Xu et al. 2015, [Show, Attend and Tell](https://arxiv.org/abs/1502.03044); Vinyals et al.
        2015, [Show and Tell](https://arxiv.org/abs/1411.4555).

    Example:

    >>> import numpy as np
    >>> model = captioner(20, image_size=32, hidden_dim=8)
    >>> model.generate(np.zeros((2, 32, 32, 3), "uint8")).ids.shape
    (2, 1, 64)
    """
    if decoder not in DECODERS:
        raise ValueError(f"`decoder` must be one of {DECODERS}. Received: decoder={decoder!r}")
    if attention not in ATTENTIONS:
        raise ValueError(
            f"`attention` must be one of {ATTENTIONS}. Received: attention={attention!r}"
        )
    if decoder == "transformer" and attention != "soft":
        raise ValueError(
            "`attention` must be 'soft' with `decoder='transformer'`. "
            f"Received: attention={attention!r}"
        )
    encoder = ImageEncoder(
        ResidualCNN((32, 64, 128, 256)) if backbone is None else backbone,
        image_size,
        positions=positions,
        body=body,
        name="encoder",
    )
    if decoder == "transformer":
        embedding = TokenEmbedding(
            vocabulary_size,
            hidden_dim,
            output="tied",
            scale=True,
            positions="sinusoidal",
            dropout=dropout,
        )
        blocks = make_blocks(
            DecoderBlock,
            num_layers,
            num_heads=num_heads,
            intermediate_dim=4 * hidden_dim,
            dropout=dropout,
        )
        text_decoder = TransformerDecoder(embedding, blocks, name="decoder")
        return EncoderDecoder(encoder, text_decoder, name=name)

    embedding = TokenEmbedding(vocabulary_size, hidden_dim, output="separate", dropout=dropout)
    lstm = stacked_cells(keras.layers.LSTMCell, hidden_dim, num_layers)
    options: dict[str, Any] = {"dropout": dropout, "name": "decoder"}
    if attention == "soft":
        cell = BahdanauDecoderCell(lstm, BahdanauAttention(hidden_dim), gate=True)
        text_decoder = RNNDecoder(embedding, cell, doubly_stochastic=doubly_stochastic, **options)
    elif attention == "hard":
        cell = HardAttentionCell(lstm, BahdanauAttention(hidden_dim), gate=True)
        text_decoder = HardAttentionDecoder(embedding, cell, **options)
    elif attention == "luong":
        cell = LuongDecoderCell(lstm, LuongAttention("general"))
        text_decoder = RNNDecoder(embedding, cell, **options)
    else:
        text_decoder = RNNDecoder(embedding, RecurrentDecoderCell(lstm), **options)
    return EncoderDecoder(encoder, text_decoder, name=name)
