"""RNN encoder-decoders with attention, and the baselines without."""

from collections.abc import Callable
from typing import Any

import keras

from keras_attention.decoders import RNNDecoder
from keras_attention.layers import (
    BahdanauAttention,
    BahdanauDecoderCell,
    BaseAttention,
    LuongAttention,
    LuongDecoderCell,
    RecurrentDecoderCell,
    RecurrentEncoder,
    TextEncoder,
    TokenEmbedding,
)
from keras_attention.layers.rnn_cells import GRUCell
from keras_attention.models.encoder_decoder import EncoderDecoder

RNN_CELLS = {"gru": GRUCell, "lstm": keras.layers.LSTMCell}
DECODER_CELLS = ("bahdanau", "luong")


def seq2seq(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    embedding_dim: int = 256,
    units: int = 256,
    cell: str = "gru",
    encoder_layers: int = 1,
    decoder_layers: int = 1,
    bidirectional: bool = True,
    attention: str | BaseAttention | None = "bahdanau",
    decoder_cell: str | RecurrentDecoderCell | None = None,
    combine: str = "concat",
    input_feeding: bool = False,
    reverse_source: bool = False,
    dropout: float = 0.2,
    tie_embeddings: bool = False,
    scheduled_sampling: Callable[[Any], Any] | None = None,
    name: str = "seq2seq",
) -> EncoderDecoder:
    """Builds an RNN encoder-decoder with attention.

    | `attention` | | decoder cell |
    | --- | --- | --- |
    | `"bahdanau"` | `BahdanauAttention(units)` (Bahdanau et al. 2015) | `"bahdanau"` |
    | `"luong"` | `LuongAttention("general")` (Luong et al. 2015) | `"luong"` |
    | an attention layer | | `decoder_cell`, required |
    | `"fixed"` | none; the encoder's final state is part of every input (Cho et al. 2014) | |
    | `None` | none; the encoder's final state is the initial one (Sutskever et al. 2014) | |

    | `decoder_cell` | |
    | --- | --- |
    | `"bahdanau"` | `BahdanauDecoderCell`: attends with the previous state, runs the RNN cell |
    | `"luong"` | `LuongDecoderCell`: runs the RNN cell, attends with its output |
    | a `RecurrentDecoderCell` | your own, in place of the decoder's RNN cells and attention |
    | `None` | as the table of `attention` says |

    Args:
        source_vocabulary_size: number of source ids.
        target_vocabulary_size: number of target ids.
        embedding_dim: width of both embeddings and of the readout.
        units: width of the decoder's state, of `BahdanauAttention`, and of the encoder's outputs,
            both directions together.
        cell: `"gru"` or `"lstm"`. For another Keras RNN cell pass the layers to `EncoderDecoder`,
            as this function does.
        encoder_layers: number of RNN layers in the encoder.
        decoder_layers: number of RNN layers in the decoder.
        bidirectional: whether the encoder is bidirectional, with `units / 2` per direction.
        attention: see the table.
        decoder_cell: see the table. With a cell of your own, leave `attention`, `decoder_layers`,
            `combine` and `input_feeding` at their defaults.
        combine: how the Luong cell combines its output and the context: `"concat"` or `"add"`.
        input_feeding: whether the Luong cell's output is part of the next step's input.
        reverse_source: whether the encoder reads the source in reverse (Sutskever et al. 2014).
        dropout: dropout rate of the embeddings, between encoder layers, and of the readout.
        tie_embeddings: whether the output weights are the target embedding's.
        scheduled_sampling: schedule from `keras_attention.training`, or None for teacher forcing.
        name: name of the model.

    Returns:
        An `EncoderDecoder`, not compiled.

    Raises:
        ValueError: If `cell`, `attention` or `decoder_cell` is unknown, options exclude each other,
            a number of layers is below 1, or `units` is odd with a bidirectional encoder.

    Example:

    >>> model = seq2seq(12, 14, units=8, embedding_dim=8, attention="luong")
    >>> model.output_shape
    (None, None, 14)
    """
    if cell not in RNN_CELLS:
        raise ValueError(f"`cell` must be one of {sorted(RNN_CELLS)}. Received: cell={cell!r}")
    if bidirectional and units % 2:
        raise ValueError(
            f"`units` must be even with a bidirectional encoder. Received: units={units}"
        )
    if decoder_layers < 1:
        raise ValueError(
            f"`decoder_layers` must be at least 1. Received: decoder_layers={decoder_layers}"
        )
    own_cell = isinstance(decoder_cell, keras.layers.Layer)
    if own_cell:
        _check_own_cell(decoder_cell, attention, decoder_layers, combine, input_feeding)
        attention_layer: Any = None
        cell_name = None
    else:
        cell_name = _decoder_cell_name(attention, decoder_cell, combine, input_feeding)
        attention_layer = _attention_layer(attention, units)
    make_cell = RNN_CELLS[cell]
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
    rnn_cell = None if own_cell else stacked_cells(make_cell, units, decoder_layers)
    target_embedding = TokenEmbedding(
        target_vocabulary_size,
        embedding_dim,
        output="tied" if tie_embeddings else "separate",
        dropout=dropout,
    )
    if cell_name == "bahdanau":
        decoder_cell = BahdanauDecoderCell(rnn_cell, attention_layer)
    elif cell_name == "luong":
        decoder_cell = LuongDecoderCell(
            rnn_cell, attention_layer, combine, units=embedding_dim, input_feeding=input_feeding
        )
    elif not own_cell:
        decoder_cell = RecurrentDecoderCell(rnn_cell)
    decoder = RNNDecoder(
        target_embedding,
        decoder_cell,  # type: ignore[arg-type]  # no longer a name
        dropout=dropout,
        summary_input=attention == "fixed",
        scheduled_sampling=scheduled_sampling,
        name="decoder",
    )
    return EncoderDecoder(encoder, decoder, name=name)


def stacked_cells(
    make_cell: Callable[[int], keras.layers.Layer], units: int, num_layers: int
) -> keras.layers.Layer:
    """Returns one RNN cell, or several as one `StackedRNNCells`."""
    cells = [make_cell(units) for _ in range(num_layers)]
    return cells[0] if num_layers == 1 else keras.layers.StackedRNNCells(cells)


def _attention_layer(attention, units):
    """Returns the attention layer that `attention` names, or None."""
    if isinstance(attention, keras.layers.Layer):
        return attention
    if attention == "bahdanau":
        return BahdanauAttention(units)
    if attention == "luong":
        return LuongAttention("general")
    if attention in ("fixed", None):
        return None
    raise ValueError(
        "`attention` must be 'bahdanau', 'luong', 'fixed', None or an attention layer. "
        f"Received: attention={attention!r}"
    )


def _decoder_cell_name(attention, decoder_cell, combine, input_feeding):
    """Returns "bahdanau", "luong", or None without attention."""
    if decoder_cell not in (*DECODER_CELLS, None):
        raise ValueError(
            "`decoder_cell` must be 'bahdanau', 'luong', None or a `RecurrentDecoderCell`. "
            f"Received: decoder_cell={decoder_cell!r}"
        )
    if attention in ("fixed", None) and decoder_cell is not None:
        raise ValueError(
            "`decoder_cell` must be None without attention. "
            f"Received: attention={attention!r}, decoder_cell={decoder_cell!r}"
        )
    if isinstance(attention, keras.layers.Layer) and decoder_cell is None:
        raise ValueError(
            "`decoder_cell` must be 'bahdanau' or 'luong' when `attention` is a layer. "
            f"Received: attention={attention!r}, decoder_cell=None"
        )
    name = decoder_cell
    if name is None and attention in DECODER_CELLS:
        name = attention
    if name != "luong" and (input_feeding or combine != "concat"):
        raise ValueError(
            "`combine` and `input_feeding` are options of the Luong decoder cell. "
            f"Received: combine={combine!r}, input_feeding={input_feeding}, "
            f"attention={attention!r}, decoder_cell={decoder_cell!r}"
        )
    return name


def _check_own_cell(decoder_cell, attention, decoder_layers, combine, input_feeding):
    if not isinstance(decoder_cell, RecurrentDecoderCell):
        raise ValueError(
            "`decoder_cell` must be 'bahdanau', 'luong', None or a `RecurrentDecoderCell`. "
            f"Received: decoder_cell={decoder_cell!r}"
        )
    replaced = (attention, decoder_layers, combine, input_feeding)
    if replaced != ("bahdanau", 1, "concat", False):
        raise ValueError(
            "`attention`, `decoder_layers`, `combine` and `input_feeding` must be left at their "
            "defaults when `decoder_cell` is a layer, which replaces them. "
            f"Received: attention={attention!r}, decoder_layers={decoder_layers}, "
            f"combine={combine!r}, input_feeding={input_feeding}"
        )
