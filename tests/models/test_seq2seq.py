"""`seq2seq`: its default model in float64 NumPy, its options, and the agreement of backends."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import (
    BahdanauAttention,
    BahdanauDecoderCell,
    DotAttention,
    LuongAttention,
    LuongDecoderCell,
    MonotonicAttention,
    RecurrentDecoderCell,
)
from keras_attention.models import seq2seq

SOURCE = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2]])
TARGET = np.array([[1, 4, 5, 6], [1, 7, 8, 0]])
INPUTS = {"source": SOURCE, "target": TARGET}


def make(**options):
    model = seq2seq(11, 12, embedding_dim=6, units=8, **options)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


def doubles(layer):
    return [array(weight).astype("float64") for weight in layer.weights]


def gru(weights, x, h):
    kernel, recurrent, bias = weights
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    xz, xr, xh = np.split(x @ kernel + bias[0], 3, -1)
    hz, hr, hh = np.split(h @ recurrent + bias[1], 3, -1)
    z = sigmoid(xz + hz)
    return z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)


def read(weights, x, order):
    """The annotations of one direction, and its final state."""
    h, out = np.zeros(4), np.zeros((len(x), 4))
    for s in order:
        h = out[s] = gru(weights, x[s], h)
    return out, h


def reference(model, source, target):
    """Bahdanau et al. 2015, section 3 and appendix A, with the GRU and the tanh of the docs."""
    (table,) = doubles(model.encoder.embedding)
    x = table[source[source > 0]]
    forward, backward = (doubles(cell) for cell in model.encoder.body.stack[0])
    forward_states, end = read(forward, x, range(len(x)))
    backward_states, start = read(backward, x, reversed(range(len(x))))
    annotations = np.concatenate([forward_states, backward_states], -1)
    decoder = model.decoder
    kernel, bias = doubles(decoder.bridge[0])
    s = np.tanh(np.concatenate([end, start]) @ kernel + bias)
    attention = decoder.cell.attention
    (w,), (u,), v = doubles(attention.query_dense), doubles(attention.key_dense), array(attention.v)
    embeddings, out = doubles(decoder.embedding)
    readout, readout_bias = doubles(decoder.readout)
    logits = []
    for y in embeddings[target]:
        scores = np.tanh(s @ w + annotations @ u) @ v  # equation 6
        alpha = np.exp(scores) / np.exp(scores).sum()
        context = alpha @ annotations  # equation 5
        s = gru(doubles(decoder.cell.cell), np.concatenate([y, context]), s)
        deep = np.tanh(np.concatenate([y, s, context]) @ readout + readout_bias)
        logits.append(deep @ out)
    return np.stack(logits)


def test_default_is_bahdanaus_model():
    model = make()
    logits = array(model(INPUTS))
    for row in range(2):
        expected = reference(model, SOURCE[row], TARGET[row])
        np.testing.assert_allclose(logits[row], expected, rtol=1e-4, atol=1e-5)


# Sums of the absolute logits of each row, as TensorFlow gives them.
AGREED = {
    "bahdanau": [40.57, 35.0355],
    "luong": [32.5252, 34.1319],
    "feeding": [11.3157, 10.0857],
    "fixed": [28.3778, 22.5513],
    "none": [30.1637, 33.024],
}


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "name, options",
    {
        "bahdanau": {"tie_embeddings": True, "encoder_layers": 2},
        "luong": {"attention": "luong", "decoder_layers": 2, "reverse_source": True},
        "feeding": {"attention": "luong", "input_feeding": True, "cell": "lstm"},
        "fixed": {"attention": "fixed"},
        "none": {"attention": None, "bidirectional": False},
    }.items(),
)
def test_backends_agree(name, options):
    logits = array(make(**options)(INPUTS)).astype("float64")
    np.testing.assert_allclose(np.abs(logits).sum((1, 2)), AGREED[name], rtol=1e-5)


def test_only_attention_reads_the_encoder_sequence():
    """Without attention, None and "fixed", the decoder reads the final state only."""
    for attention, reads_sequence in (
        (None, False),
        ("fixed", False),
        ("bahdanau", True),
        ("luong", True),
    ):
        model = make(attention=attention)
        encoded, mask = model.encoder(SOURCE), model.encoder.compute_mask(SOURCE)
        changed = {**encoded, "sequence": encoded["sequence"] + 1.0}
        difference = model.decoder(TARGET, changed, mask) - model.decoder(TARGET, encoded, mask)
        assert (np.abs(array(difference)).max() > 1e-3) == reads_sequence, attention


def test_fixed_context_is_read_at_every_step():
    for attention, reads_summary in ((None, False), ("fixed", True)):
        model = make(attention=attention)
        constants, state = model.decoder.start(model.encoder(SOURCE))
        other = {**constants, "summary": constants["summary"] + 1.0}
        ids = ops.convert_to_tensor([[4], [5]], "int32")
        difference = (
            model.decoder.step(ids, 0, state, other)[0]
            - model.decoder.step(ids, 0, state, constants)[0]
        )
        assert (np.abs(array(difference)).max() > 1e-3) == reads_summary


def test_reverse_source_is_the_reversed_source():
    reversed_model, model = make(attention=None, reverse_source=True), make(attention=None)
    model.set_weights(reversed_model.get_weights())
    backward = {"source": SOURCE[:, ::-1], "target": TARGET}
    np.testing.assert_allclose(array(reversed_model(INPUTS)), array(model(backward)), atol=1e-5)


@pytest.mark.parametrize(
    "options, attention_type, cell_type",
    [
        ({}, BahdanauAttention, BahdanauDecoderCell),
        ({"attention": "bahdanau"}, BahdanauAttention, BahdanauDecoderCell),
        ({"attention": "luong"}, LuongAttention, LuongDecoderCell),
        ({"attention": "luong", "decoder_cell": "bahdanau"}, LuongAttention, BahdanauDecoderCell),
        ({"decoder_cell": "luong"}, BahdanauAttention, LuongDecoderCell),
        (
            {"attention": BahdanauAttention(4), "decoder_cell": "bahdanau"},
            BahdanauAttention,
            BahdanauDecoderCell,
        ),
        ({"attention": DotAttention(), "decoder_cell": "luong"}, DotAttention, LuongDecoderCell),
        (
            {"attention": MonotonicAttention(8), "decoder_cell": "bahdanau"},
            MonotonicAttention,
            BahdanauDecoderCell,
        ),
        ({"attention": None}, type(None), RecurrentDecoderCell),
        ({"attention": "fixed"}, type(None), RecurrentDecoderCell),
    ],
)
def test_attention_and_decoder_cell(options, attention_type, cell_type):
    cell = seq2seq(11, 12, embedding_dim=6, units=8, **options).decoder.cell
    assert type(cell.attention) is attention_type and type(cell) is cell_type


def test_decoder_cell_of_the_users_own():
    cell = BahdanauDecoderCell(keras.layers.SimpleRNNCell(5), DotAttention(), gate=True)
    encoder_width = 5  # the dot product's
    model = seq2seq(
        11, 12, embedding_dim=6, units=encoder_width, bidirectional=False, decoder_cell=cell
    )
    assert model.decoder.cell is cell
    assert array(model(INPUTS)).shape == (*TARGET.shape, 12)


def test_options_reach_the_layers():
    model = seq2seq(
        11, 12, embedding_dim=6, units=8, cell="lstm", encoder_layers=3, decoder_layers=2,
        bidirectional=False, dropout=0.25, name="mine",
    )  # fmt: skip
    body = model.encoder.body
    assert model.name == "mine"
    assert len(body.stack) == 3 and all(len(cells) == 1 for cells in body.stack)
    assert isinstance(body.cell, keras.layers.LSTMCell) and body.cell.units == 8
    assert [cell.units for cell in model.decoder.cell.cell.cells] == [8, 8]
    encoder, decoder = model.encoder, model.decoder
    layers = body, encoder.embedding, decoder, decoder.embedding
    assert [layer.dropout.rate for layer in layers] == [0.25] * 4
    assert seq2seq(11, 12, embedding_dim=6, units=8).encoder.body.cell.units == 4


@pytest.mark.parametrize(
    "options, message",
    [
        ({"cell": "rnn"}, r"`cell` must be one of \['gru', 'lstm'\]. Received: cell='rnn'"),
        ({"attention": "self"}, "`attention` must .* Received: attention='self'"),
        ({"units": 7}, "`units` must .* Received: units=7"),
        ({"encoder_layers": 0}, "`num_layers` must .* Received: num_layers=0"),
        ({"decoder_layers": 0}, "Received: decoder_layers=0"),
        ({"input_feeding": True}, "Luong .*input_feeding=True, attention='bahdanau'"),
        ({"combine": "add"}, "Luong .*combine='add'"),
        ({"decoder_cell": "rnn"}, "`decoder_cell` must .* Received: decoder_cell='rnn'"),
        ({"decoder_cell": keras.layers.GRUCell(8)}, "Received: decoder_cell=<GRUCell"),
        ({"attention": DotAttention()}, "when `attention` is a layer.*decoder_cell=None"),
        ({"attention": None, "decoder_cell": "luong"}, "None without attention.*=None, .*'luong'"),
        (
            {
                "attention": "luong",
                "decoder_cell": RecurrentDecoderCell(keras.layers.GRUCell(8)),
            },
            "left at their defaults .*attention='luong', decoder_layers=1",
        ),
        ({"attention": "luong", "combine": "add"}, "Received: output_size=8, embedding_dim=6"),
        ({"source_vocabulary_size": 4}, "Received: vocabulary_size=4"),
        ({"target_vocabulary_size": 0}, "Received: vocabulary_size=0"),
        ({"attention": LuongAttention("dot"), "units": 8, "bidirectional": True, "cell": 3},
         "Received: cell=3"),
    ],
)  # fmt: skip
def test_invalid_options(options, message):
    options = {"source_vocabulary_size": 11, "target_vocabulary_size": 12, "units": 8, **options}
    with pytest.raises(ValueError, match=message):
        seq2seq(embedding_dim=6, **options)
