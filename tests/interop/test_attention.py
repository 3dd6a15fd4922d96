"""With their weights ours gives their outputs and their scores."""

import keras
import numpy as np
import pytest
import torch
from keras import ops

from helpers import array
from keras_attention.interop import load_keras, load_torch
from keras_attention.layers import MultiHeadAttention, MultiHeadSelfAttention

B, T, S, D, H, K = 2, 3, 5, 8, 4, 2
KEPT = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(layer):
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) * 0.5 for w in layer.get_weights()])
    return layer


def assert_same(got, want):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-4, atol=1e-5)


KERAS = {
    "plain": ({}, {}),
    "no-bias": ({"use_bias": False}, {"use_bias": False}),
    "value-dim": ({"value_dim": 3}, {"value_dim": 3}),
    "output-dim": ({"output_shape": 7}, {"output_dim": 7}),
    "grouped": ({"num_key_value_heads": 2}, {"num_key_value_heads": 2}),
    "multi-query": ({"num_key_value_heads": 1}, {"num_key_value_heads": 1}),
}


def of_keras(options):
    if "num_key_value_heads" in options:
        return keras.layers.GroupQueryAttention(K, H, **options)
    return keras.layers.MultiHeadAttention(H, K, **options)


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("case", KERAS)
def test_it_is_keras_layer(case, built):
    theirs, options = KERAS[case]
    theirs, layer = of_keras(theirs), MultiHeadAttention(H, K, **options)
    query, value, key = data(B, T, D), data(B, S, 6, seed=1), data(B, S, 5, seed=2)
    theirs.build(query.shape, value.shape, key.shape)
    if built:
        layer.build(query.shape, value.shape, key.shape)
    load_keras(layer, randomize(theirs))
    limit = np.random.default_rng(3).random((B, T, S)) < 0.7
    limit[..., 0] = True  # no row is empty: theirs then looks everywhere
    for masks in (
        {},
        {"value_mask": KEPT},
        {"key_mask": KEPT, "query_mask": np.ones((B, T), bool)},
        {"attention_mask": limit},
        {"attention_mask": limit, "value_mask": KEPT, "use_causal_mask": True},
    ):
        masks = {
            name: ops.convert_to_tensor(mask) if name != "use_causal_mask" else mask
            for name, mask in masks.items()
        }
        want = theirs(query, value, key, **masks, return_attention_scores=True)
        assert_same(layer(query, value, key, **masks, return_attention_scores=True), want)


@pytest.mark.parametrize("case", ["plain", "no-bias", "value-dim", "grouped"])
def test_the_fused_projection_takes_the_three_of_keras(case):
    theirs, options = KERAS[case]
    theirs, layer = of_keras(theirs), MultiHeadSelfAttention(H, K, **options)
    x = data(B, S, D)
    theirs.build(x.shape, x.shape)
    load_keras(layer, randomize(theirs))
    masked = {"use_causal_mask": True, "return_attention_scores": True}
    assert_same(layer(x, mask=KEPT, **masked), theirs(x, x, value_mask=KEPT, **masked))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [{}, {"kdim": 5, "vdim": 6}], ids=["packed", "apart"])
def test_it_is_pytorchs(widths, bias):
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(D, H, bias=bias, batch_first=True, **widths)
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    query = data(B, T, D)
    value, key = data(B, S, widths.get("vdim", D)), data(B, S, widths.get("kdim", D), seed=2)
    layer = MultiHeadAttention(H, D // H, use_bias=bias)
    load_torch(layer, theirs.state_dict())
    padding, ahead = torch.from_numpy(~KEPT), torch.from_numpy(~np.tri(T, S, dtype=bool))
    for ours, masks in (
        ({}, {}),
        ({"value_mask": KEPT}, {"key_padding_mask": padding}),
        (
            {"value_mask": KEPT, "use_causal_mask": True},
            {"key_padding_mask": padding, "attn_mask": ahead},
        ),
    ):
        with torch.no_grad():
            tensors = map(torch.from_numpy, (query, key, value))
            want = theirs(*tensors, **masks, average_attn_weights=False)
        got = layer(query, value, key, **ours, return_attention_scores=True)
        assert_same(got, [x.numpy() for x in want])
    if not widths:
        fused = MultiHeadSelfAttention(H, D // H, use_bias=bias)
        load_torch(fused, theirs.state_dict())
        assert_same([fused(query)], [layer(query, query)])


def keras_state(theirs=None, **options):
    theirs = theirs or keras.layers.MultiHeadAttention(H, K, **options)
    theirs.build((B, T, D), (B, S, D))
    return theirs


@pytest.mark.parametrize(
    "make, theirs, message",
    [
        (
            lambda: MultiHeadAttention(2, 4),
            lambda: keras_state(),
            r"kernel of query: expected the shape \(None, 2, 4\).* Received: shape \(8, 4, 2\)",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: keras_state(value_dim=3),
            r"kernel of value: expected the shape \(None, 4, 2\).* Received: shape \(8, 4, 3\)",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: keras_state(keras.layers.GroupQueryAttention(K, H, 1)),
            r"kernel of key: expected the shape \(None, 4, 2\).* Received: shape \(8, 1, 2\)",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: keras_state(output_shape=7),
            r"kernel of output: expected the shape \(8, 8\).* Received: shape \(8, 7\)",
        ),
        (
            lambda: MultiHeadAttention(H, K, use_bias=False),
            lambda: keras_state(),
            "expected use_bias=True, as theirs has it. Received: use_bias=False",
        ),
        (
            lambda: MultiHeadSelfAttention(H, K),
            lambda: keras_state(use_bias=False),
            "expected use_bias=False, as theirs has it. Received: use_bias=True",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: keras_state(keras.layers.GroupQueryAttention(K, H, H, use_gate=True)),
            r"expected the weights of query, key, value and output alone. Received: \['gate'\]",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: keras.layers.MultiHeadAttention(H, K, name="theirs"),
            "expected a layer with weights.* Received: theirs, not built",
        ),
    ],
)
def test_layers_of_keras_that_do_not_fit(make, theirs, message):
    layer = make()
    layer.build(*[(B, T, D)] * (1 if isinstance(layer, MultiHeadSelfAttention) else 2))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=message):
        load_keras(layer, theirs())
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def torch_state(**options):
    return torch.nn.MultiheadAttention(D, H, **options).state_dict()


@pytest.mark.parametrize(
    "make, state, message",
    [
        (
            lambda: MultiHeadAttention(H, 3),
            lambda: torch_state(),
            r"kernel of query: expected the shape \(8, 12\).* Received: shape \(8, 8\)",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: torch_state(add_bias_kv=True),
            r"expected the weights of query, .* Received: \['bias_k', 'bias_v'\]",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: torch_state(bias=False),
            "expected use_bias=False, as theirs has it. Received: use_bias=True",
        ),
        (
            lambda: MultiHeadSelfAttention(H, K),
            lambda: torch_state(kdim=5),
            r"expected MultiHeadAttention, .* MultiHeadSelfAttention, widths \[8, 8, 5\]",
        ),
    ],
)
def test_states_of_pytorch_that_do_not_fit(make, state, message):
    with pytest.raises(ValueError, match=message):
        load_torch(make(), state())
