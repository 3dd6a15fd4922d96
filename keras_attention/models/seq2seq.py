"""The attentional RNN for sequence to sequence, and the baselines it was argued against."""

import keras

from keras_attention.decoders import RNNDecoder
from keras_attention.layers import (
    BahdanauAttention,
    LuongAttention,
    RecurrentDecoderCell,
    RecurrentEncoder,
    TextEncoder,
    TokenEmbedding,
)
from keras_attention.models.encoder_decoder import EncoderDecoder

CELLS = {"gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}


def seq2seq(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    embedding_dim: int = 256,
    units: int = 256,
    cell: str = "gru",
    encoder_layers: int = 1,
    decoder_layers: int = 1,
    bidirectional: bool = True,
    attention: str | keras.layers.Layer | None = "bahdanau",
    combine: str = "concat",
    input_feeding: bool = False,
    reverse_source: bool = False,
    dropout: float = 0.2,
    tie_embeddings: bool = False,
    scheduled_sampling=None,
    name: str = "seq2seq",
) -> EncoderDecoder:
    """Builds an encoder-decoder of RNNs with attention.

    | `attention` | model |
    | --- | --- |
    | `"bahdanau"` | additive score, the previous state asks (Bahdanau et al. 2015) |
    | `"luong"` | general score, the current state asks (Luong et al. 2015) |
    | a layer | that attention; `BahdanauAttention` in Bahdanau's order, others in Luong's |
    | `"fixed"` | the encoder's last state at every step (Cho et al. 2014) |
    | `None` | the encoder's last state handed over once (Sutskever et al. 2014) |

    Args:
        source_vocabulary_size: number of source ids.
        target_vocabulary_size: number of target ids.
        embedding_dim: width of both embeddings and of the readout.
        units: width of the decoder's state, of the score, and of both encoder directions together.
        cell: `"gru"` or `"lstm"`. For any other Keras cell make the layers and give them to
            `EncoderDecoder`, as this function does.
        encoder_layers: RNN layers in the encoder.
        decoder_layers: RNN layers in the decoder.
        bidirectional: whether the encoder reads both ways, with `units / 2` each.
        attention: see the table.
        combine: how the context joins the output in Luong's order: `"concat"` or `"add"`.
        input_feeding: Luong's order: whether the joined vector enters the next step.
        reverse_source: whether the encoder reads from the end (Sutskever et al. 2014).
        dropout: rate on embeddings, between encoder layers and on the readout.
        tie_embeddings: whether the output weights are the target embedding's.
        scheduled_sampling: schedule from `keras_attention.training`, or None.
        name: of the model.

    Returns:
        An `EncoderDecoder`, not compiled.

    Raises:
        ValueError: for an unknown cell or attention, fewer than one layer, an odd `units` when
            bidirectional, or options that do not go together.

    Example:

    >>> model = seq2seq(12, 14, units=8, embedding_dim=8, attention="luong")
    >>> model.output_shape
    (None, None, 14)
    """
    if cell not in CELLS:
        raise ValueError(f"cell: expected one of {sorted(CELLS)}. Received: cell={cell!r}")
    if bidirectional and units % 2:
        raise ValueError(
            "units: expected an even number, half for each direction of the encoder. "
            f"Received: units={units}"
        )
    if decoder_layers < 1:
        raise ValueError(
            f"decoder_layers: expected at least 1. Received: decoder_layers={decoder_layers}"
        )
    layer, order = _attention(attention, units)
    make_cell = CELLS[cell]
    encoder = TextEncoder(
        TokenEmbedding(source_vocabulary_size, embedding_dim, dropout=dropout),
        RecurrentEncoder(
            make_cell(units // 2 if bidirectional else units),
            num_layers=encoder_layers,
            bidirectional=bidirectional,
            dropout=dropout,
        ),
        reverse=reverse_source,
        name="encoder",
    )
    cells = [make_cell(units) for _ in range(decoder_layers)]
    decoder = RNNDecoder(
        TokenEmbedding(
            target_vocabulary_size,
            embedding_dim,
            output="tied" if tie_embeddings else "separate",
            dropout=dropout,
        ),
        RecurrentDecoderCell(
            cells[0] if decoder_layers == 1 else keras.layers.StackedRNNCells(cells),
            layer,
            order=order,
            combine=combine,
            units=embedding_dim,
            input_feeding=input_feeding,
        ),
        dropout=dropout,
        summary_input=attention == "fixed",
        scheduled_sampling=scheduled_sampling,
        name="decoder",
    )
    return EncoderDecoder(encoder, decoder, name=name)


def _attention(attention, units):
    """The layer, and whose order it is used in."""
    if isinstance(attention, keras.layers.Layer):
        return attention, "bahdanau" if isinstance(attention, BahdanauAttention) else "luong"
    if attention == "bahdanau":
        return BahdanauAttention(units), "bahdanau"
    if attention == "luong":
        return LuongAttention("general"), "luong"
    if attention in (None, "fixed"):
        return None, "luong"
    raise ValueError(
        "attention: expected 'bahdanau', 'luong', 'fixed', None or an attention layer. "
        f"Received: attention={attention!r}"
    )
