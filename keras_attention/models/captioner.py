"""Image to text: an image encoder before the decoders of text."""

import keras

from keras_attention.decoders import HardAttentionDecoder, RNNDecoder, TransformerDecoder
from keras_attention.layers import (
    BahdanauAttention,
    DecoderBlock,
    HardAttentionCell,
    ImageEncoder,
    LuongAttention,
    RecurrentDecoderCell,
    ResidualCNN,
    TokenEmbedding,
)
from keras_attention.models.encoder_decoder import EncoderDecoder

ATTENTIONS = ("soft", "hard", "luong", "transformer", None)


def captioner(
    vocabulary_size: int,
    image_size: int | tuple[int, int] = 128,
    attention: str | None = "soft",
    grid: keras.layers.Layer | None = None,
    body: keras.layers.Layer | None = None,
    hidden_dim: int = 256,
    num_layers: int = 1,
    num_heads: int = 4,
    dropout: float = 0.3,
    doubly_stochastic: float = 1.0,
    positions: str | None = "sinusoidal",
    name: str = "captioner",
) -> EncoderDecoder:
    """Builds a model that says what is in an image, looking at cells of a grid.

    | `attention` | decoder |
    | --- | --- |
    | `"soft"` | an LSTM; the state asks, the context is gated (Xu et al. 2015, section 4.2) |
    | `"hard"` | the same, but it looks at one cell, and learns where by REINFORCE (section 4.1) |
    | `"luong"` | an LSTM; the output asks, all steps at once (Luong et al. 2015) |
    | `"transformer"` | Transformer blocks, pre-norm (Vaswani et al. 2017) |
    | `None` | an LSTM that is handed the image's mean once (Vinyals et al. 2015) |

    Args:
        vocabulary_size: number of ids of the captions.
        image_size: height and width of the images, or one number for both.
        attention: see the table.
        grid: from images to a grid of features: `layers.ResidualCNN`,
            `layers.KerasApplicationBackbone`, `layers.Patches` or any Keras model;
            `None` is a `ResidualCNN` whose cells stand for 16 pixels.
        body: over the cells, with which they learn of each other, as `layers.TransformerEncoder`.
        hidden_dim: width of the embedding, the state and the score.
        num_layers: of the decoder.
        num_heads: of the Transformer's attention.
        dropout: rate on embeddings and readout, or on what every sub-layer gives.
        doubly_stochastic: of `"soft"`, how much the loss asks that every cell is looked at (Xu et
            al. 2015, eq. 14; the paper's lambda).
        positions: what is added to the cells: see `layers.ImageEncoder`.
        name: of the model.

    Returns:
        An `EncoderDecoder`, not compiled. Its `source` is images, uint8 or float from 0 to 255,
        (batch, height, width, 3).

    Raises:
        ValueError: for an unknown attention, or numbers that do not go together.

    References:
        Xu et al. 2015, [Show, Attend and Tell](https://arxiv.org/abs/1502.03044); Vinyals et al.
        2015, [Show and Tell](https://arxiv.org/abs/1411.4555).

    Example:

    >>> import numpy as np
    >>> model = captioner(20, image_size=32, hidden_dim=8)
    >>> model.generate(np.zeros((2, 32, 32, 3), "uint8")).ids.shape
    (2, 1, 64)
    """
    if attention not in ATTENTIONS:
        raise ValueError(
            f"attention: expected one of {ATTENTIONS}. Received: attention={attention!r}"
        )
    encoder = ImageEncoder(
        ResidualCNN((32, 64, 128, 256)) if grid is None else grid,
        image_size,
        positions=positions,
        body=body,
        name="encoder",
    )
    if attention == "transformer":
        embedding = TokenEmbedding(
            vocabulary_size,
            hidden_dim,
            output="tied",
            scale=True,
            positions="sinusoidal",
            dropout=dropout,
        )
        block = DecoderBlock(num_heads, 4 * hidden_dim, dropout=dropout)
        decoder = TransformerDecoder(embedding, block, num_layers, name="decoder")
        return EncoderDecoder(encoder, decoder, name=name)
    embedding = TokenEmbedding(vocabulary_size, hidden_dim, output="separate", dropout=dropout)
    cells = [keras.layers.LSTMCell(hidden_dim) for _ in range(num_layers)]
    cell = cells[0] if num_layers == 1 else keras.layers.StackedRNNCells(cells)
    same = {"dropout": dropout, "name": "decoder"}
    if attention == "hard":
        cell = HardAttentionCell(cell, BahdanauAttention(hidden_dim), gate=True)
        decoder = HardAttentionDecoder(embedding, cell, **same)
    elif attention == "soft":
        cell = RecurrentDecoderCell(cell, BahdanauAttention(hidden_dim), gate=True)
        decoder = RNNDecoder(embedding, cell, doubly_stochastic=doubly_stochastic, **same)
    else:
        score = None if attention is None else LuongAttention("general")
        decoder = RNNDecoder(embedding, RecurrentDecoderCell(cell, score, order="luong"), **same)
    return EncoderDecoder(encoder, decoder, name=name)
