"""The decoder cells against their papers' equations in float64 NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, normal
from keras_attention.layers import (
    BahdanauAttention,
    BahdanauDecoderCell,
    HardAttentionCell,
    LuongAttention,
    LuongDecoderCell,
    MonotonicAttention,
    RecurrentDecoderCell,
    RecurrentEncoder,
)
from keras_attention.ops.attention import Memory

B, S, D, U, T, E = 2, 5, 4, 3, 3, 6
CELLS = {"gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
every_cell = pytest.mark.parametrize("cell", CELLS)


def randomize(layer, seed=1):
    """Sets weights far from zero, biases included."""
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape) * 0.5 for w in layer.get_weights()])


class MinimalCell(keras.layers.Layer):
    """A cell without the optional `output_size` and `get_initial_state`, as in Keras's guide."""

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
    """Attention of one query per row: Bahdanau's additive score, or Luong's general one."""
    if kind == "bahdanau":
        w, u, v = weights
        scores = np.tanh((query @ w)[:, None] + value @ u) @ v
    else:
        (kernel,) = weights
        scores = np.einsum("bq,bsd,dq->bs", query, value, kernel)
    alpha = np.exp(scores) * mask
    alpha = alpha / alpha.sum(-1, keepdims=True)
    return np.einsum("bs,bsd->bd", alpha, value), alpha


def weights_by_path(layer):
    return {
        weight.path.split(f"{layer.name}/", 1)[1]: array(weight).astype("float64")
        for weight in layer.weights
    }


def reference(cell, x, states, value, mask):
    """Bahdanau 2015, section 3.1 and appendix A.2; Luong 2015, equation 5 and section 3.3."""
    step, _ = STEPS["gru" if isinstance(cell.cell, keras.layers.GRUCell) else "lstm"]
    weights = [array(w).astype("float64") for w in cell.cell.weights]
    scorer = {n.split("/")[0]: w for n, w in weights_by_path(cell.attention).items()}
    kind = "bahdanau" if "v" in scorer else "luong"
    scorer = [scorer[n] for n in (("query", "key", "v") if kind == "bahdanau" else ("key",))]
    combined = np.zeros((len(x), cell.output_size))
    outputs, alphas = [], []
    for t in range(x.shape[1]):
        if isinstance(cell, BahdanauDecoderCell):
            context, alpha = attend(scorer, kind, states[0], value, mask)
            if cell.gate is not None:  # Xu et al. 2015, section 4.2.1
                kernel, bias = (array(w).astype("float64") for w in cell.gate.weights)
                context = sigmoid(states[0] @ kernel + bias) * context
            h, states = step(weights, np.concatenate([x[:, t], context], -1), states)
            output = np.concatenate([h, context], -1)
        else:
            y = np.concatenate([x[:, t], combined], -1) if cell.input_feeding else x[:, t]
            h, states = step(weights, y, states)
            context, alpha = attend(scorer, kind, h, value, mask)
            if cell.combine == "concat":
                kernel = array(cell.combine_dense.kernel).astype("float64")
                output = combined = np.tanh(np.concatenate([context, h], -1) @ kernel)
            else:
                output = combined = h + context
        outputs.append(output)
        alphas.append(alpha)
    return np.stack(outputs, 1), np.stack(alphas, 1)


def make(kind, cell, attention="bahdanau", memory_width=D, **options):
    attention = {
        "bahdanau": lambda: BahdanauAttention(4),
        "general": lambda: LuongAttention("general"),
        "monotonic": lambda: MonotonicAttention(4),
        "local-m": lambda: LuongAttention("general", window="local-m", window_width=1),
    }[attention]()
    layer = KINDS[kind](cell, attention, **options)
    layer.build((B, 1, E), memory_width=memory_width)
    randomize(layer)
    return layer


def start(layer, value, mask=None, num_beams=1):
    """Memory, initial state, and the RNN cell's states (batch, beams, units) in it."""
    memory = layer.memory(value, mask)
    sizes = keras.tree.flatten(layer.cell.state_size)
    states = [normal(B, 1, n, seed=10 + i).repeat(num_beams, 1) for i, n in enumerate(sizes)]
    return memory, layer.initial_state([ops.convert_to_tensor(s) for s in states], memory), states


def run_steps(layer, x, state, memory):
    outputs, weights = [], []
    for t in range(x.shape[1]):
        output, state, step_weights = layer(
            x[:, t : t + 1], state, memory, position=t, return_weights=True
        )
        outputs.append(array(output))
        weights.append(array(step_weights))
    return np.concatenate(outputs, 1), np.concatenate(weights, 1)


KINDS = {"bahdanau": BahdanauDecoderCell, "luong": LuongDecoderCell, "hard": HardAttentionCell}
OPTIONS = {
    "bahdanau": dict(kind="bahdanau"),
    "bahdanau-general": dict(kind="bahdanau", attention="general"),
    "bahdanau-gate": dict(kind="bahdanau", gate=True),
    "luong-concat": dict(kind="luong", attention="general"),
    "luong-concat-units": dict(kind="luong", units=5),
    "luong-add": dict(kind="luong", attention="general", combine="add", memory_width=U),
    "luong-feeding": dict(kind="luong", attention="general", input_feeding=True, units=5),
    "luong-add-feeding": dict(kind="luong", combine="add", input_feeding=True, memory_width=U),
}


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_cell
@pytest.mark.parametrize("option", OPTIONS)
def test_cell_matches_its_papers_equations(cell, option):
    layer = make(cell=CELLS[cell](U), **OPTIONS[option])
    x, value = normal(B, T, E), normal(B, S, OPTIONS[option].get("memory_width", D), seed=2)
    memory, state, states = start(layer, value, MASK)
    expected, alpha = reference(layer, x, [s[:, 0].astype("float64") for s in states], value, MASK)
    outputs, weights = run_steps(layer, x, state, memory)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights, alpha, rtol=1e-4, atol=1e-5)
    assert outputs.shape[-1] == layer.output_size
    outputs, weights = layer.call_sequence(x, state, memory, return_weights=True)
    np.testing.assert_allclose(array(outputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(weights), alpha, rtol=1e-4, atol=1e-5)
    assert layer.parallel == (option in ("luong-concat", "luong-concat-units", "luong-add"))


STACKS = {
    "gru": lambda: keras.layers.GRUCell(U),
    "two-gru": lambda: keras.layers.StackedRNNCells([keras.layers.GRUCell(n) for n in (5, U)]),
    "two-lstm": lambda: keras.layers.StackedRNNCells([keras.layers.LSTMCell(n) for n in (5, U)]),
    "simple": lambda: keras.layers.SimpleRNNCell(U),
    "minimal": lambda: MinimalCell(U),
}


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("attention", ["bahdanau", "monotonic", "local-m"])
@pytest.mark.parametrize(
    "kind, options", [("bahdanau", {}), ("luong", {}), ("luong", {"input_feeding": True})]
)
def test_sequence_equals_steps_and_beams_are_independent(stack, attention, kind, options):
    layer = make(kind, STACKS[stack](), attention, **options)
    x, value = normal(B, T, E), normal(B, S, D, seed=2)
    memory, state, _ = start(layer, value, MASK)
    expected, alpha = run_steps(layer, x, state, memory)
    outputs, weights = layer.call_sequence(x, state, memory, return_weights=True)
    np.testing.assert_allclose(array(outputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(weights), alpha, rtol=1e-4, atol=1e-5)

    beams = np.stack([normal(B, T, E, seed=5), x, normal(B, T, E, seed=6)], 2)  # (B, T, K, E)
    _, state, _ = start(layer, value, MASK, num_beams=3)
    assert all(leaf.shape[:2] == (B, 3) for leaf in keras.tree.flatten(state))
    for t in range(T):
        output, state, weights = layer(beams[:, t], state, memory, position=t, return_weights=True)
        np.testing.assert_allclose(array(output)[:, 1], expected[:, t], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(array(weights)[:, 1], alpha[:, t], rtol=1e-4, atol=1e-5)


def test_the_query_is_the_top_layers_state():
    layer = make("bahdanau", STACKS["two-lstm"]())
    value = normal(B, S, D, seed=2)
    memory, state, states = start(layer, value, MASK)
    _, _, weights = layer(normal(B, 1, E), state, memory, return_weights=True)
    # h of the second layer; states 0 and 1 are the first layer's
    _, expected, _ = layer.attention.attend(states[2], memory, return_weights=True)
    np.testing.assert_allclose(array(weights), array(expected), atol=1e-6)


@every_cell
def test_without_attention_it_is_the_rnn(cell):
    layer = RecurrentDecoderCell(CELLS[cell](U))
    layer.build((B, 1, E), memory_width=D)
    randomize(layer)
    x, value = normal(B, T, E), normal(B, S, D, seed=2)
    memory = Memory(value, value)
    states = [normal(B, 1, U, seed=10 + i) for i in range(STEPS[cell][1])]
    state = layer.initial_state([ops.convert_to_tensor(s) for s in states], memory)
    expected, states = [], [s[:, 0].astype("float64") for s in states]
    for t in range(T):
        h, states = STEPS[cell][0]([array(w) for w in layer.cell.weights], x[:, t], states)
        expected.append(h)
    for outputs, weights in (
        run_steps(layer, x, state, memory),
        layer.call_sequence(x, state, memory, return_weights=True),
    ):
        np.testing.assert_allclose(array(outputs), np.stack(expected, 1), rtol=1e-4, atol=1e-5)
        assert array(weights).shape == (B, T, S) and not array(weights).any()


@pytest.mark.parametrize("kind", ["bahdanau", "luong", "hard"])
def test_weights_are_returned_on_request_only(kind):
    layer = make(kind, keras.layers.GRUCell(U))
    x, value = normal(B, T, E), normal(B, S, D, seed=2)
    memory, state, _ = start(layer, value, MASK)
    expected, next_state, weights = layer(x[:, :1], state, memory)
    output, same_state, _ = layer(x[:, :1], state, memory, return_weights=True)
    assert weights is None
    np.testing.assert_array_equal(array(output), array(expected))
    for leaf, same_leaf in zip(*map(keras.tree.flatten, (next_state, same_state)), strict=True):
        np.testing.assert_array_equal(array(leaf), array(same_leaf))
    outputs, weights = layer.call_sequence(x, state, memory)
    assert weights is None
    expected, _ = layer.call_sequence(x, state, memory, return_weights=True)
    np.testing.assert_allclose(array(outputs), array(expected), atol=1e-6)


@pytest.mark.parametrize("kind", ["bahdanau", "luong"])
def test_fully_masked_source_gives_context_zero(kind):
    layer = make(kind, keras.layers.GRUCell(U))
    value = normal(B, S, D, seed=2)
    mask = np.array([[False] * S, [True] * S])
    memory, state, _ = start(layer, value, mask)
    output, _, weights = layer(normal(B, 1, E), state, memory, return_weights=True)
    assert np.isfinite(array(output)).all() and not array(weights)[0].any()
    if kind == "bahdanau":
        assert not array(output)[0, :, U:].any()


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("option", OPTIONS)
def test_config_round_trip(option):
    layer = make(cell=STACKS["two-gru"](), **OPTIONS[option])
    again = type(layer).from_config(layer.get_config())
    again.build((B, 1, E), memory_width=OPTIONS[option].get("memory_width", D))
    again.set_weights(layer.get_weights())
    assert again.get_config() == layer.get_config()
    x, value = normal(B, T, E), normal(B, S, OPTIONS[option].get("memory_width", D), seed=2)
    memory, state, _ = start(layer, value, MASK)
    same_memory, same_state, _ = start(again, value, MASK)
    np.testing.assert_allclose(
        array(again.call_sequence(x, same_state, same_memory)[0]),
        array(layer.call_sequence(x, state, memory)[0]),
        atol=1e-6,
    )


def test_monotonic_attention_has_noise_in_training_only():
    layer = LuongDecoderCell(
        keras.layers.GRUCell(U), MonotonicAttention(4, sigmoid_noise=1.0, seed=1)
    )
    layer.build((B, 1, E), memory_width=D)
    x, value = normal(B, T, E), normal(B, S, D, seed=2)
    memory, state, _ = start(layer, value, MASK)

    def weights(**options):
        return array(layer.call_sequence(x, state, memory, return_weights=True, **options)[1])

    np.testing.assert_array_equal(weights(), weights())
    assert np.abs(weights(training=True) - weights()).max() > 0.01


def test_cell_without_optional_members():
    cell = MinimalCell(U)
    encoder = RecurrentEncoder(cell, bidirectional=False)
    x = normal(B, S, D)
    encoded = encoder(x, mask=MASK)
    expected = keras.layers.RNN(cell, return_sequences=True, zero_output_for_mask=True)(
        x, mask=ops.convert_to_tensor(MASK)
    )
    np.testing.assert_allclose(array(encoded["sequence"]), array(expected), atol=1e-5)
    decoder = BahdanauDecoderCell(MinimalCell(U), BahdanauAttention(4))
    decoder.build((B, 1, E), memory_width=D)
    memory = decoder.memory(x)
    state = decoder.initial_state([np.zeros((B, 1, U))], memory)
    output, _, _ = decoder(normal(B, 1, E), state, memory)
    assert output.shape == (B, 1, U + D)


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("luong", dict(combine="mul"), "`combine` must .* Received: combine='mul'"),
        ("luong", dict(combine="add"), "`combine='add'` .*=4, output width 3"),
        (
            "luong",
            dict(attention=MonotonicAttention(4, sigmoid_noise=1.0), input_feeding=True),
            "`sigmoid_noise=0`.* Received: sigmoid_noise=1.0",
        ),
        (
            "bahdanau",
            dict(attention=MonotonicAttention(4, sigmoid_noise=1.0)),
            "`sigmoid_noise=0`.* Received: sigmoid_noise=1.0",
        ),
        ("bahdanau", dict(attention=None, gate=True), "`attention` must .*attention=None"),
        ("hard", dict(attention=None, gate=True), "`attention` must .*attention=None"),
        ("luong", dict(attention=None, input_feeding=True), "`attention` must .*attention=None"),
    ],
)
def test_invalid_options(kind, options, message):
    options = {"attention": BahdanauAttention(4), **options}
    with pytest.raises(ValueError, match=message):
        KINDS[kind](keras.layers.GRUCell(U), **options).build((B, 1, E), memory_width=D)


@pytest.mark.parametrize(
    "kind, options", [("bahdanau", {"input_feeding": True}), ("luong", {"gate": True})]
)
def test_options_of_another_cell(kind, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}"):
        KINDS[kind](keras.layers.GRUCell(U), BahdanauAttention(4), **options)


def test_dropout_inside_a_stack_is_rejected():
    cells = [keras.layers.GRUCell(U), keras.layers.LSTMCell(U, recurrent_dropout=0.1)]
    with pytest.raises(ValueError, match=r"Received: dropout=0.*, recurrent_dropout=0.1"):
        RecurrentDecoderCell(keras.layers.StackedRNNCells(cells))
