"""Multi-head attention against float64 NumPy written from the equations.

tests/interop compares it with the layers of Keras and PyTorch with the same weights.
"""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, assert_trains_and_reloads, normal
from keras_attention.layers import (
    AlibiBias,
    MultiHeadAttention,
    MultiHeadSelfAttention,
    RelativePositionBias,
    RotaryEmbedding,
)
from keras_attention.ops.beam_cache import cache_step, init_beams, slot_indices
from keras_attention.ops.kv_cache import KVCache, count_rows, read_slots

B, T, S, D, H, K = 2, 3, 5, 6, 4, 2
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
ENCODINGS = {
    "none": lambda: None,
    "rotary": RotaryEmbedding,
    "rotary-linear": lambda: RotaryEmbedding(base=100.0, scaling="linear", factor=2.0),
    "relative": lambda: RelativePositionBias(H),
    "alibi": lambda: AlibiBias(H),
}
OPTIONS = {
    "plain": {},
    "no-bias": {"use_bias": False},
    "value-dim": {"value_dim": 3},
    "output-dim": {"output_dim": 7},
    "grouped": {"num_key_value_heads": 2},
    "multi-query": {"num_key_value_heads": 1, "value_dim": 3},
    "soft-cap": {"soft_cap": 0.7},
    "qk-norm": {"qk_norm": True},
    "window": {"window": 2},
    "all": {"num_key_value_heads": 2, "value_dim": 3, "soft_cap": 1.5, "qk_norm": True},
}
every_encoding = pytest.mark.parametrize("encoding", ENCODINGS)


def built(cls, *shapes, **options):
    """Returns a built layer with random weights of normal size."""
    layer = cls(**{"num_heads": H, "key_dim": K, **options})
    layer.build(*shapes)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) * 0.7 for w in layer.get_weights()])
    return layer


def half(layer, *shapes, policy):
    """Returns the same layer with another dtype policy."""
    config = {**layer.get_config(), "dtype": policy}
    if config["positions"] is not None:
        config["positions"]["config"]["dtype"] = policy
    restored = type(layer).from_config(config)
    restored.build(*shapes)
    restored.set_weights(layer.get_weights())
    return restored


# The equations. Positions are 0, 1, ... on both sides.


def rotated(x, base, factor):
    """Su et al. 2021, equation 34, as a product of complex numbers; the pairs are (i, i + D/2)."""
    half = x.shape[-1] // 2
    rates = base ** (-np.arange(half) / half)
    angles = np.arange(x.shape[2])[:, None] / factor * rates
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], -1)


def bias_of(positions, distance):
    """Returns the bias of the scores, (H, T, S), for distances key - query of at most 8."""
    if isinstance(
        positions, RelativePositionBias
    ):  # one bucket per distance; the upper half is for later keys
        buckets = np.abs(distance) + positions.num_buckets // 2 * (distance > 0)
        return np.moveaxis(array(positions.table)[buckets], -1, 0)
    if isinstance(positions, AlibiBias):
        slopes = 2.0 ** (-8 * np.arange(1, H + 1) / H)
        return -slopes[:, None, None] * np.abs(distance)
    return np.zeros((H, *distance.shape))


def expected(layer, query, value, key=None, mask=None):
    """Vaswani et al. 2017, section 3.2, with the later options: output and weights."""
    weights = {
        weight.path.removeprefix(f"{layer.name}/"): array(weight).astype("float64")
        for weight in layer.weights
    }

    def projected(name, x):
        return x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)

    def in_heads(x, heads):
        return np.moveaxis(x.reshape(*x.shape[:2], heads, -1), 1, 2)  # (B, heads, time, width)

    def normed(name, x):
        root = np.sqrt((x**2).mean(-1, keepdims=True) + 1e-7)
        return x / root * weights[f"{name}/scale"] if layer.qk_norm else x

    q = normed("query_norm", in_heads(projected("query", query), H))
    k = in_heads(projected("key", value if key is None else key), layer.num_key_value_heads)
    k = normed("key_norm", k)
    v = in_heads(projected("value", value), layer.num_key_value_heads)
    if isinstance(layer.positions, RotaryEmbedding):
        q, k = (rotated(x, layer.positions.base, layer.positions.factor) for x in (q, k))
    k, v = (np.repeat(x, H // x.shape[1], axis=1) for x in (k, v))  # Ainslie et al. 2023

    scores = q @ np.moveaxis(k, 2, 3) / np.sqrt(layer.key_dim)
    if layer.soft_cap is not None:
        scores = layer.soft_cap * np.tanh(scores / layer.soft_cap)
    distance = np.arange(k.shape[2]) - np.arange(q.shape[2])[:, None]
    scores = scores + bias_of(layer.positions, distance)
    mask = np.ones((1, 1, 1, 1), bool) if mask is None else mask[:, None]  # (B, 1, T, S)
    if layer.window is not None:
        mask = mask & (np.abs(distance) < layer.window)
    exponentials = np.exp(scores) * mask
    total = exponentials.sum(-1, keepdims=True)
    attention_weights = exponentials / np.where(total == 0, 1, total)
    heads = np.moveaxis(attention_weights @ v, 1, 2)
    return projected("output", heads.reshape(*heads.shape[:2], -1)), attention_weights


def assert_all_close(got, want, atol=1e-5):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-4, atol=atol)


@pytest.mark.parametrize("options", OPTIONS)
def test_output_follows_the_equations(options):
    """Without masks, and with all of them; the first sequence has a fully masked query."""
    length = T if options == "window" else S
    query, key, value = normal(B, T, D), normal(B, length, 4, seed=1), normal(B, length, 8, seed=2)
    layer = built(MultiHeadAttention, query.shape, value.shape, key.shape, **OPTIONS[options])
    output, scores = layer(query, value, key, return_attention_scores=True)
    assert_all_close((output, scores), expected(layer, query, value, key))

    rng = np.random.default_rng(3)
    masks = {
        "query_mask": rng.random((B, T)) < 0.8,
        "value_mask": MASK[:, :length],
        "key_mask": rng.random((B, length)) < 0.9,
        "attention_mask": rng.random((B, T, length)) < 0.8,
    }
    masks["attention_mask"][0, 1] = False
    together = np.tri(T, length, dtype=bool) & masks["attention_mask"]
    together = together & masks["query_mask"][:, :, None] & masks["value_mask"][:, None]
    together = together & masks["key_mask"][:, None]
    got = layer(query, value, key, **masks, use_causal_mask=True, return_attention_scores=True)
    assert_all_close(got, expected(layer, query, value, key, together))

    empty = ~together.any(-1)
    assert empty[0, 1] and not empty.all()
    assert (np.moveaxis(array(got[1]), 1, 2)[empty] == 0).all()
    nothing = got[0] * 0 + layer.output_dense.bias if layer.use_bias else got[0] * 0
    np.testing.assert_allclose(array(got[0])[empty], array(nothing)[empty], atol=1e-6)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_encoding
@pytest.mark.parametrize("options", ["plain", "grouped", "window", "soft-cap", "qk-norm"])
def test_position_encodings_follow_the_equations(encoding, options):
    x = normal(B, S, D)
    layer = built(
        MultiHeadAttention, x.shape, x.shape, positions=ENCODINGS[encoding](), **OPTIONS[options]
    )
    got = layer(x, x, value_mask=MASK, return_attention_scores=True)
    assert_all_close(got, expected(layer, x, x, mask=np.repeat(MASK[:, None], S, 1)))


@pytest.mark.parametrize("options", ["plain", "all"])
@every_encoding
def test_fused_projection_equals_separate_projections(encoding, options):
    if encoding.startswith("rotary") and options == "all":
        options = "grouped"
    x, options = normal(B, S, D), {**OPTIONS[options], "positions": ENCODINGS[encoding]()}
    apart = built(MultiHeadAttention, x.shape, x.shape, **options)
    fused = built(MultiHeadSelfAttention, x.shape, **options)
    denses = apart.query_dense, apart.key_dense, apart.value_dense
    fused.fused_dense.kernel.assign(np.concatenate([array(d.kernel) for d in denses], 1))
    fused.fused_dense.bias.assign(np.concatenate([array(d.bias) for d in denses]))
    fused.output_dense.set_weights(apart.output_dense.get_weights())
    if fused.qk_norm:
        fused.query_norm.set_weights(apart.query_norm.get_weights())
        fused.key_norm.set_weights(apart.key_norm.get_weights())
    limits = {"attention_mask": np.tri(S, S, 1, dtype=bool)[None], "use_causal_mask": True}
    want = apart(x, x, value_mask=MASK, **limits, return_attention_scores=True)
    assert_all_close(fused(x, mask=MASK, **limits, return_attention_scores=True), want)
    # also through `memory` and `attend`
    mask = np.tri(S, S, dtype=bool)[None]
    got = fused.attend(x, fused.memory(x, mask=MASK), mask=mask, return_weights=True)
    assert_all_close(got[:2], want)


# Weights, masks and dropout do not change the output


@pytest.mark.parametrize("options", ["plain", "all"])
def test_weights_masks_and_dropout_do_not_change_the_output(options):
    query, value = normal(B, T, D), normal(B, S, D, seed=1)
    layer = built(MultiHeadAttention, query.shape, value.shape, **OPTIONS[options])
    output = array(layer(query, value))
    np.testing.assert_array_equal(
        array(layer(query, value, return_attention_scores=True)[0]), output
    )
    all_true = {
        "query_mask": np.ones((B, T), bool),
        "value_mask": np.ones((B, S), bool),
        "attention_mask": np.ones((T, S), bool),
    }
    for name, mask in all_true.items():
        np.testing.assert_allclose(array(layer(query, value, **{name: mask})), output, atol=1e-6)
    np.testing.assert_array_equal(array(layer(query, value, training=True)), output)
    rates = {"dropout": 0.5, "output_dropout": 0.5}
    drops = type(layer).from_config({**layer.get_config(), **rates})
    drops.build(query.shape, value.shape)
    drops.set_weights(layer.get_weights())
    np.testing.assert_array_equal(array(drops(query, value)), output)


def test_returned_weights_are_those_before_dropout():
    """With one-hot values the output is the weights after dropout: 0 or doubled."""
    layer = MultiHeadAttention(1, K, value_dim=S, output_dim=S, use_bias=False, dropout=0.5)
    query, key = normal(B, T, D), normal(B, S, D, seed=1)
    value = np.stack([np.eye(S, dtype="float32")] * B)
    layer.build(query.shape, value.shape, key.shape)
    for dense in (layer.value_dense, layer.output_dense):
        dense.kernel.assign(np.eye(S))
    inference, scores = layer(query, value, key, return_attention_scores=True)
    weights, training_scores = layer(query, value, key, return_attention_scores=True, training=True)
    np.testing.assert_array_equal(array(training_scores), array(scores))
    scores, weights = array(scores)[:, 0], array(weights)
    np.testing.assert_allclose(array(inference), scores, atol=1e-6)
    dropped = weights == 0
    assert 0 < dropped.sum() < dropped.size
    np.testing.assert_allclose(weights[~dropped], 2 * scores[~dropped], rtol=1e-5)


def test_output_dropout_is_applied_to_the_output():
    x = normal(B, T, D)
    layer = built(MultiHeadSelfAttention, x.shape, output_dropout=0.5)
    inference, output = array(layer(x)), array(layer(x, training=True))
    dropped = output == 0
    assert 0 < dropped.sum() < dropped.size
    np.testing.assert_allclose(output[~dropped], 2 * inference[~dropped], rtol=1e-5)


@pytest.mark.parametrize("options", ["plain", "value-dim", "all"])
def test_call_equals_attend_on_the_memory(options):
    query, value = normal(B, T, D), normal(B, S, D, seed=1)
    layer = built(
        MultiHeadAttention,
        query.shape,
        value.shape,
        positions=AlibiBias(H),
        **OPTIONS[options],
    )
    output, scores = layer(query, value, value_mask=MASK, return_attention_scores=True)
    memory = layer.memory(value, mask=MASK)
    assert memory.keys.shape == (B, layer.num_key_value_heads, S, K)
    assert memory.values.shape == (B, layer.num_key_value_heads, S, layer.value_dim)
    for t in range(T):
        got = layer.attend(
            query[:, t : t + 1], memory, positions=np.array(t, "int32"), return_weights=True
        )
        assert_all_close(got[:2], (output[:, t : t + 1], scores[:, :, t : t + 1]))


# Stepping


def slots(cache):
    """Returns the keys and the values of all slots, the past ones first."""
    parts = zip(*(read_slots(slots) for slots in cache), strict=True)
    return [np.concatenate([array(x) for x in part], axis=2) for part in parts]


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_encoding
@pytest.mark.parametrize(
    "options",
    [{}, {"num_key_value_heads": 1}, {"window": 2}, {"qk_norm": True, "soft_cap": 1.0}],
    ids=["plain", "multi-query", "window", "norm-and-cap"],
)
def test_steps_with_a_cache_equal_the_causal_pass(encoding, options):
    """The first sequence begins with padding, which is not counted in its positions."""
    x, mask = normal(B, S, D), MASK[:, ::-1]
    positions = np.array([[-2, -1, 0, 1, 2], range(S)], "int32")
    layer = built(MultiHeadSelfAttention, x.shape, positions=ENCODINGS[encoding](), **options)
    causal = np.tri(S, S, dtype=bool)[None]
    output, weights, full_cache = layer.attend_to_self(
        x, mask=causal & mask[:, None], positions=positions, return_weights=True
    )
    if "window" not in options:  # all encodings depend on the distance only
        expected = layer(x, mask=mask, use_causal_mask=True)
        assert_all_close((array(output)[mask],), (array(expected)[mask],))

    cache = layer.init_cache(B, 1, S)  # each sequence is the one beam of its row
    length = count_rows(cache.recent)
    assert length == options.get("window", S)
    for t in range(S):
        step = cache_step(t, positions[:, t : t + 1], init_beams(B, 1, S), cache)
        step_output, step_weights, cache = layer.attend_to_cache(
            x[:, t : t + 1], cache, step, return_weights=True
        )
        indices = array(slot_indices(t, length))
        expected = np.where(indices >= 0, array(weights)[:, :, t : t + 1, indices], 0.0)
        assert_all_close((step_output, step_weights), (output[:, t : t + 1], expected))
        sequence = KVCache(*(x[:, :, : t + 1] for x in full_cache))
        for filled, stepped in zip(
            *map(slots, (layer.fill_cache(sequence, 2, S), cache)), strict=True
        ):
            filled, stepped = array(filled)[:, :, : 2 * t + 2], array(stepped)[:, :, : t + 1]
            assert_all_close((filled,), (np.repeat(stepped, 2, axis=2),))


def test_self_attention_projects_once_per_call(monkeypatch):
    x = normal(B, S, D)
    layer = built(MultiHeadSelfAttention, x.shape)
    calls, project = [], layer.fused_dense.call
    monkeypatch.setattr(layer.fused_dense, "call", lambda *args: calls.append(0) or project(*args))
    memory = layer.memory(x)
    layer.attend(x, memory)
    layer(x)
    cache = layer.init_cache(B, 1, S)
    step = cache_step(0, np.array([[0]]), init_beams(B, 1, S), cache)
    layer.attend_to_cache(x[:, :1], cache, step)
    assert len(calls) == 4


# Keras layer requirements


@pytest.mark.parametrize("cls", [MultiHeadAttention, MultiHeadSelfAttention])
@every_encoding
def test_config_restores_the_layer(cls, encoding):
    shapes = [(B, S, D)] * (2 if cls is MultiHeadAttention else 1)
    options = {"num_key_value_heads": 2, "window": 4, "soft_cap": 2.0, "output_dim": 5}
    options |= {"dropout": 0.1, "output_dropout": 0.2, "use_bias": False, "value_dim": 3}
    layer = built(cls, *shapes, positions=ENCODINGS[encoding](), **options)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert restored.get_config() == layer.get_config()
    assert options.items() <= restored.get_config().items()
    restored.set_weights(layer.get_weights())
    inputs = [normal(*shape) for shape in shapes]
    np.testing.assert_array_equal(array(restored(*inputs)), array(layer(*inputs)))


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_encoding
@pytest.mark.usefixtures("eager")
def test_layer_trains_with_empty_rows_and_is_saved(encoding, tmp_path):
    """Gradients are finite although one sequence is all padding; the saved model is equal."""
    source = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, D, mask_zero=True)(source)
    grouped = {"num_key_value_heads": 2, "window": 3}
    options = {"qk_norm": True, "soft_cap": 5.0}
    fused = MultiHeadSelfAttention(H, K, positions=ENCODINGS[encoding](), **grouped)
    x, scores = fused(x, use_causal_mask=True, return_attention_scores=True)
    assert x.shape == (None, None, D) and scores.shape == (None, H, None, None)
    y, scores = MultiHeadAttention(H, K, output_dim=3, **options)(
        x, x, return_attention_scores=True
    )
    assert y.shape == (None, None, 3) and scores.shape == (None, H, None, None)
    model = keras.Model(source, keras.layers.Dense(1)(y))
    model.compile("sgd", "mse")
    ids = np.array([[0] * S, [3, 4, 5, 0, 0]])
    assert_trains_and_reloads(model, ids, np.ones((B, S, 1)), tmp_path, epochs=2)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("encoding", ["none", "rotary", "relative"])
def test_mixed_precision(policy, encoding):
    """A sequence without keys gives the bias; a cache has the dtype of what it caches."""
    x = normal(B, S, D)
    options = {"positions": ENCODINGS[encoding](), "qk_norm": True, "num_key_value_heads": 2}
    full = built(MultiHeadAttention, x.shape, x.shape, **options)
    layer = half(full, x.shape, x.shape, policy=policy)
    mask = np.array([[False] * S, MASK[0]])
    want = full(x, x, value_mask=mask, return_attention_scores=True)
    got = layer(x, x, value_mask=mask, return_attention_scores=True)
    memory = layer.memory(x, mask=mask)  # outside of the call's autocast scope
    alone = layer.attend(x, memory, return_weights=True)[:2]
    for tensor in (*got, *alone, memory.keys, memory.values):
        assert keras.backend.standardize_dtype(tensor.dtype) == layer.compute_dtype
    for attended in (got, alone):
        for a, b in zip(attended, want, strict=True):
            np.testing.assert_allclose(array(ops.cast(a, "float32")), array(b), atol=0.06)
    assert (array(ops.cast(got[1], "float32"))[0] == 0).all()


@pytest.mark.parametrize("explicit", [False, True])
def test_keras_masks_are_used_and_propagated(explicit):
    """With and without an attention mask."""
    x, value = normal(B, S, D), normal(B, S, D, seed=1)
    x[0, 3:] = 0
    masked = keras.layers.Masking()(x)
    fused = built(MultiHeadSelfAttention, x.shape)
    apart = built(MultiHeadAttention, x.shape, value.shape)
    limit = {"attention_mask": ops.convert_to_tensor(np.tri(S, S, 1, dtype=bool))}
    for options in ({}, limit, {"use_causal_mask": True}):
        output = fused(masked, **({"mask": MASK} if explicit else {}), **options)
        np.testing.assert_allclose(array(output), array(fused(x, mask=MASK, **options)), atol=1e-6)
        np.testing.assert_array_equal(array(output._keras_mask), MASK)
        output = apart(masked, value, **options)
        want = apart(x, value, query_mask=MASK, **options)
        np.testing.assert_allclose(array(output), array(want), atol=1e-6)
        np.testing.assert_array_equal(array(output._keras_mask), MASK)
        output = apart(value, masked, **options)
        want = apart(value, x, value_mask=MASK, **options)
        np.testing.assert_allclose(array(output), array(want), atol=1e-6)


@pytest.mark.parametrize("cls", [MultiHeadAttention, MultiHeadSelfAttention])
@pytest.mark.parametrize("length", [0, 1])
def test_the_smallest_inputs(cls, length):
    x = normal(B, length, D)
    inputs = [x] * (2 if cls is MultiHeadAttention else 1)
    layer = cls(H, K, num_key_value_heads=2, positions=RotaryEmbedding())
    assert array(layer(*inputs)).shape == (B, length, D)
    assert array(layer(*[x[:0] for x in inputs])).shape == (0, length, D)


# Invalid input


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_heads": 0}, "`num_heads` must be positive. Received: num_heads=0"),
        ({"key_dim": 0}, "`key_dim` must be positive. Received: key_dim=0"),
        ({"value_dim": -1}, "`value_dim` must be positive. Received: value_dim=-1"),
        ({"output_dim": 0}, "`output_dim` must be positive. Received: output_dim=0"),
        ({"soft_cap": 0.0}, "`soft_cap` must be positive. Received: soft_cap=0.0"),
        ({"window": 0}, "`window` must be positive. Received: window=0"),
        ({"num_key_value_heads": 0}, "`num_key_value_heads` must be positive"),
        (
            {"num_key_value_heads": 3},
            "must divide `num_heads`. Received: num_heads=4, num_key_value_heads=3",
        ),
        (
            {"positions": AlibiBias(2)},
            "`positions` must have as many heads .* num_heads=4, positions.num_heads=2",
        ),
    ],
)
def test_invalid_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**{"num_heads": H, "key_dim": K, **options})


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize(
    "options, shapes, message",
    [
        ({}, {"query": (B, D)}, r"`query` must have shape .* Received: query.shape=\(2, 6\)"),
        ({}, {"value_mask": (B, T)}, r"`value_mask` must .* value_mask.shape=\(2, 3\)"),
        (
            {},
            {"attention_mask": (B, H, T, S)},
            r"`attention_mask` must .* \(2, 3, 5\)\. Received: attention_mask.shape=\(2, 4, 3, 5\)",
        ),
        ({"window": 2}, {}, "from the same sequence.* Received: window=2, 3 queries, 5 keys"),
    ],
)
def test_shapes_that_do_not_match_raise(options, shapes, message, symbolic):
    make_input = keras.KerasTensor if symbolic else np.ones
    shapes = {"query": (B, T, D), "value": (B, S, D), **shapes}
    inputs = {name: make_input(shape, dtype="float32") for name, shape in shapes.items()}
    layer = MultiHeadAttention(H, K, **options)
    layer.build((B, T, D), (B, S, D))
    with pytest.raises(ValueError, match=message):
        layer(**inputs)


def test_memory_and_attend_check_their_arguments():
    query, value = normal(B, T, D), normal(B, S, D)
    layer = MultiHeadAttention(H, K)
    with pytest.raises(ValueError, match="call it, or .*build.* Received: multi_head_attention"):
        layer.memory(value)
    layer.build(query.shape, value.shape)
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 3\)"):
        layer.memory(value, mask=MASK[:, :3])
    memory = layer.memory(value)
    with pytest.raises(ValueError, match=r"`query` must .* Received: query.shape=\(1, 3, 6\)"):
        layer.attend(query[:1], memory)
    for shape in [(B, T, S - 1), (B, S), (B, H, T, S)]:
        message = r"`mask` must have shape \(batch, queries, keys\).* Received"
        with pytest.raises(ValueError, match=message):
            layer.attend(query, memory, mask=np.ones(shape, bool))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(x=(B, D)), r"Received: value.shape=\(2, 6\)"),
        (dict(mask=(B, T)), r"`mask` must .* Received: mask.shape=\(2, 3\)"),
        (
            dict(attention_mask=(B, T, S)),
            r"`attention_mask` must .* Received: attention_mask.shape=\(2, 3, 5\)",
        ),
    ],
)
def test_shapes_of_self_attention_that_do_not_match_raise(arguments, message):
    layer = MultiHeadSelfAttention(H, K)
    layer.build((B, S, D))
    inputs = {name: np.ones(shape) for name, shape in {"x": (B, S, D), **arguments}.items()}
    with pytest.raises(ValueError, match=message):
        layer(**inputs)
