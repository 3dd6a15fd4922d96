"""The attention cell against its papers' equations in float64 NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import (
    BahdanauAttention,
    LuongAttention,
    MonotonicAttention,
    RecurrentDecoderCell,
    RecurrentEncoder,
)
from keras_attention.ops.attention import Memory

B, S, D, U, T, E = 2, 5, 4, 3, 3, 6
CELLS = {"gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}
KEPT = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
every_cell = pytest.mark.parametrize("cell", CELLS)


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(layer, seed=1):
    """Weights that are all far from zero, biases too."""
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape) * 0.5 for w in layer.get_weights()])


class MinimalCell(keras.layers.Layer):
    """As in Keras's guide: no `output_size`, no `get_initial_state`."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")
        self.built = True

    def call(self, inputs, states):
        output = ops.tanh(ops.matmul(inputs, self.kernel) + ops.matmul(states[0], self.recurrent))
        return output, [output]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(weights, x, states):
    (h,) = states
    kernel, recurrent, bias = weights
    xz, xr, xh = np.split(x @ kernel + bias[0], 3, -1)
    hz, hr, hh = np.split(h @ recurrent + bias[1], 3, -1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    h = z * h + (1 - z) * np.tanh(xh + r * hh)
    return h, [h]


def lstm(weights, x, states):
    h, c = states
    kernel, recurrent, bias = weights
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, [h, c]


STEPS = {"gru": (gru, 1), "lstm": (lstm, 2)}


def attend(weights, kind, query, value, mask):
    """One query of each row: Bahdanau's additive score, or Luong's general one."""
    if kind == "bahdanau":
        w, u, v = weights
        energies = np.tanh((query @ w)[:, None] + value @ u) @ v
    else:
        (kernel,) = weights
        energies = np.einsum("bq,bsd,dq->bs", query, value, kernel)
    weights = np.exp(energies) * mask
    weights = weights / weights.sum(-1, keepdims=True)
    return np.einsum("bs,bsd->bd", weights, value), weights


def named(layer):
    return {
        weight.path.split(f"{layer.name}/", 1)[1]: array(weight).astype("float64")
        for weight in layer.weights
    }


def transcription(cell, x, states, value, mask):
    """Bahdanau 2015, section 3.1 and appendix A.2; Luong 2015, equation 5 and section 3.3."""
    step, _ = STEPS["gru" if isinstance(cell.cell, keras.layers.GRUCell) else "lstm"]
    weights = [array(w).astype("float64") for w in cell.cell.weights]
    scorer = {n.split("/")[0]: w for n, w in named(cell.attention).items()}
    kind = "bahdanau" if "v" in scorer else "luong"
    scorer = [scorer[n] for n in (("query", "key", "v") if kind == "bahdanau" else ("key",))]
    joined = np.zeros((len(x), cell.output_size))
    outputs, scores = [], []
    for t in range(x.shape[1]):
        if cell.order == "bahdanau":
            context, alpha = attend(scorer, kind, states[0], value, mask)
            if cell.gate is not None:  # Xu et al. 2015, section 4.2.1
                kernel, bias = (array(w).astype("float64") for w in cell.gate.weights)
                context = sigmoid(states[0] @ kernel + bias) * context
            h, states = step(weights, np.concatenate([x[:, t], context], -1), states)
            out = np.concatenate([h, context], -1)
        else:
            y = np.concatenate([x[:, t], joined], -1) if cell.input_feeding else x[:, t]
            h, states = step(weights, y, states)
            context, alpha = attend(scorer, kind, h, value, mask)
            if cell.combine == "concat":
                kernel = array(cell.join.kernel).astype("float64")
                out = joined = np.tanh(np.concatenate([context, h], -1) @ kernel)
            else:
                out = joined = h + context
        outputs.append(out)
        scores.append(alpha)
    return np.stack(outputs, 1), np.stack(scores, 1)


def make(cell, order, attention="bahdanau", memory_width=D, **options):
    attention = {
        "bahdanau": lambda: BahdanauAttention(4),
        "general": lambda: LuongAttention("general"),
        "monotonic": lambda: MonotonicAttention(4),
        "local-m": lambda: LuongAttention("general", window="local-m", window_width=1),
        None: lambda: None,
    }[attention]()
    layer = RecurrentDecoderCell(cell, attention, order, **options)
    layer.build((B, 1, E), memory_width=memory_width)
    randomize(layer)
    return layer


def begin(layer, value, mask=None, beams=1):
    memory = layer.attention.memory(value, mask=mask)
    sizes = keras.tree.flatten(layer.cell.state_size)
    states = [data(B, 1, n, seed=10 + i).repeat(beams, 1) for i, n in enumerate(sizes)]
    return layer.initial_state([ops.convert_to_tensor(s) for s in states], memory), memory, states


def by_steps(layer, x, state, memory):
    outputs, scores = [], []
    for t in range(x.shape[1]):
        output, state, score = layer(x[:, t : t + 1], state, memory, position=t)
        outputs.append(array(output))
        scores.append(array(score))
    return np.concatenate(outputs, 1), np.concatenate(scores, 1)


ORDERS = {
    "bahdanau": dict(order="bahdanau"),
    "bahdanau-general": dict(order="bahdanau", attention="general"),
    "bahdanau-gate": dict(order="bahdanau", gate=True),
    "luong-concat": dict(order="luong", attention="general"),
    "luong-concat-units": dict(order="luong", units=5),
    "luong-add": dict(order="luong", attention="general", combine="add", memory_width=U),
    "luong-feeding": dict(order="luong", attention="general", input_feeding=True, units=5),
    "luong-add-feeding": dict(order="luong", combine="add", input_feeding=True, memory_width=U),
}


@every_cell
@pytest.mark.parametrize("order", ORDERS)
def test_the_cell_is_its_papers_equations(cell, order):
    layer = make(CELLS[cell](U), **ORDERS[order])
    x, value = data(B, T, E), data(B, S, ORDERS[order].get("memory_width", D), seed=2)
    state, memory, states = begin(layer, value, KEPT)
    expected, alpha = transcription(
        layer, x, [s[:, 0].astype("float64") for s in states], value, KEPT
    )
    outputs, scores = by_steps(layer, x, state, memory)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores, alpha, rtol=1e-4, atol=1e-5)
    assert outputs.shape[-1] == layer.output_size
    outputs, scores = layer.sequence(x, state, memory)
    np.testing.assert_allclose(array(outputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(scores), alpha, rtol=1e-4, atol=1e-5)
    assert layer.parallel == (order in ("luong-concat", "luong-concat-units", "luong-add"))


STACKS = {
    "gru": lambda: keras.layers.GRUCell(U),
    "two-gru": lambda: keras.layers.StackedRNNCells([keras.layers.GRUCell(n) for n in (5, U)]),
    "two-lstm": lambda: keras.layers.StackedRNNCells([keras.layers.LSTMCell(n) for n in (5, U)]),
    "simple": lambda: keras.layers.SimpleRNNCell(U),
    "minimal": lambda: MinimalCell(U),
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("attention", ["bahdanau", "monotonic", "local-m"])
@pytest.mark.parametrize("order, feeding", [("bahdanau", False), ("luong", False), ("luong", True)])
def test_sequence_is_stepping_and_beams_do_not_meet(stack, attention, order, feeding):
    layer = make(STACKS[stack](), order, attention, input_feeding=feeding)
    x, value = data(B, T, E), data(B, S, D, seed=2)
    state, memory, _ = begin(layer, value, KEPT)
    expected, alpha = by_steps(layer, x, state, memory)
    outputs, scores = layer.sequence(x, state, memory)
    np.testing.assert_allclose(array(outputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(scores), alpha, rtol=1e-4, atol=1e-5)

    beams = np.stack([data(B, T, E, seed=5), x, data(B, T, E, seed=6)], 2)  # (B, T, K, E)
    state, _, _ = begin(layer, value, KEPT, beams=3)
    assert all(leaf.shape[:2] == (B, 3) for leaf in keras.tree.flatten(state))
    for t in range(T):
        output, state, score = layer(beams[:, t], state, memory, position=t)
        np.testing.assert_allclose(array(output)[:, 1], expected[:, t], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(array(score)[:, 1], alpha[:, t], rtol=1e-4, atol=1e-5)


def test_the_top_layer_asks():
    layer = make(STACKS["two-lstm"](), "bahdanau")
    value = data(B, S, D, seed=2)
    state, memory, states = begin(layer, value, KEPT)
    _, _, scores = layer(data(B, 1, E), state, memory)
    # h of the second layer; states 0 and 1 are the first layer's
    _, expected, _ = layer.attention.attend(states[2], memory, return_weights=True)
    np.testing.assert_allclose(array(scores), array(expected), atol=1e-6)


@every_cell
def test_without_attention_it_is_the_rnn(cell):
    layer = make(CELLS[cell](U), "luong", None)
    x, value = data(B, T, E), data(B, S, D, seed=2)
    memory = Memory(value, value)
    states = [data(B, 1, U, seed=10 + i) for i in range(STEPS[cell][1])]
    state = layer.initial_state([ops.convert_to_tensor(s) for s in states], memory)
    expected, now = [], [s[:, 0].astype("float64") for s in states]
    for t in range(T):
        h, now = STEPS[cell][0]([array(w) for w in layer.cell.weights], x[:, t], now)
        expected.append(h)
    for outputs, scores in (by_steps(layer, x, state, memory), layer.sequence(x, state, memory)):
        np.testing.assert_allclose(array(outputs), np.stack(expected, 1), rtol=1e-4, atol=1e-5)
        assert array(scores).shape == (B, T, S) and not array(scores).any()


@pytest.mark.parametrize("order", ["bahdanau", "luong"])
def test_a_source_of_padding_alone_gives_context_zero(order):
    layer = make(keras.layers.GRUCell(U), order)
    value = data(B, S, D, seed=2)
    mask = np.array([[False] * S, [True] * S])
    state, memory, _ = begin(layer, value, mask)
    output, _, scores = layer(data(B, 1, E), state, memory)
    assert np.isfinite(array(output)).all() and not array(scores)[0].any()
    if order == "bahdanau":
        assert not array(output)[0, :, U:].any()


@pytest.mark.parametrize("order", ORDERS)
def test_config_round_trip_of_the_cell(order):
    layer = make(STACKS["two-gru"](), **ORDERS[order])
    again = RecurrentDecoderCell.from_config(layer.get_config())
    again.build((B, 1, E), memory_width=ORDERS[order].get("memory_width", D))
    again.set_weights(layer.get_weights())
    assert again.get_config() == layer.get_config()
    x, value = data(B, T, E), data(B, S, ORDERS[order].get("memory_width", D), seed=2)
    state, memory, _ = begin(layer, value, KEPT)
    same_state, same_memory, _ = begin(again, value, KEPT)
    np.testing.assert_allclose(
        array(again.sequence(x, same_state, same_memory)[0]),
        array(layer.sequence(x, state, memory)[0]),
        atol=1e-6,
    )


def test_noise_of_monotonic_attention_is_there_in_training_alone():
    noisy = RecurrentDecoderCell(
        keras.layers.GRUCell(U), MonotonicAttention(4, sigmoid_noise=1.0, seed=1), "luong"
    )
    noisy.build((B, 1, E), memory_width=D)
    x, value = data(B, T, E), data(B, S, D, seed=2)
    state, memory, _ = begin(noisy, value, KEPT)
    quiet, again = (array(noisy.sequence(x, state, memory)[1]) for _ in range(2))
    np.testing.assert_array_equal(quiet, again)
    loud = array(noisy.sequence(x, state, memory, training=True)[1])
    assert np.abs(loud - quiet).max() > 0.01


def test_a_cell_that_leaves_out_what_keras_lets_it():
    cell = MinimalCell(U)
    encoder = RecurrentEncoder(cell, bidirectional=False)
    x = data(B, S, D)
    encoded = encoder(x, mask=KEPT)
    expected = keras.layers.RNN(cell, return_sequences=True, zero_output_for_mask=True)(
        x, mask=ops.convert_to_tensor(KEPT)
    )
    np.testing.assert_allclose(array(encoded["sequence"]), array(expected), atol=1e-5)
    decoder = RecurrentDecoderCell(MinimalCell(U), BahdanauAttention(4))
    decoder.build((B, 1, E), memory_width=D)
    memory = decoder.attention.memory(x)
    output, _, _ = decoder(data(B, 1, E), decoder.initial_state([np.zeros((B, 1, U))], memory),
                           memory)  # fmt: skip
    assert output.shape == (B, 1, U + D)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(order="first"), "order: .* Received: order='first'"),
        (dict(combine="mul"), "combine: .* Received: combine='mul'"),
        (dict(order="bahdanau", input_feeding=True), "input_feeding: .* order='bahdanau'"),
        (dict(attention=None, order="luong", input_feeding=True), "input_feeding: .*=None"),
        (
            dict(order="luong", input_feeding=True,
                 attention=MonotonicAttention(4, sigmoid_noise=1.0)),
            "sigmoid_noise=0 .* Received: sigmoid_noise=1.0",
        ),
        (dict(order="luong", gate=True), "gate: .* Received: order='luong'"),
        (dict(order="luong", combine="add"), "combine='add': .* width 4, output width 3"),
    ],
)  # fmt: skip
def test_errors_of_the_cell(options, message):
    options = {"attention": BahdanauAttention(4), **options}
    with pytest.raises(ValueError, match=message):
        RecurrentDecoderCell(keras.layers.GRUCell(U), **options).build((B, 1, E), memory_width=D)


def test_no_cell_of_a_stack_has_dropout():
    cells = [keras.layers.GRUCell(U), keras.layers.LSTMCell(U, recurrent_dropout=0.1)]
    with pytest.raises(ValueError, match=r"Received: .*\[0.*, 0.1\]"):
        RecurrentDecoderCell(keras.layers.StackedRNNCells(cells), None)
