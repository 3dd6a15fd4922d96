"""Layers with loaded weights give the outputs and weights of the source."""

import keras
import numpy as np
import pytest
import torch
from keras import ops

from helpers import array, normal
from keras_attention.interop import load_keras, load_torch
from keras_attention.layers import MultiHeadAttention, MultiHeadSelfAttention

B, T, S, D, H, K = 2, 3, 5, 8, 4, 2
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def randomize(layer):
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) * 0.5 for w in layer.get_weights()])
    return layer


def assert_all_close(results, expected):
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-4, atol=1e-5)


KERAS = {
    "plain": ({}, {}),
    "no-bias": ({"use_bias": False}, {"use_bias": False}),
    "value-dim": ({"value_dim": 3}, {"value_dim": 3}),
    "output-dim": ({"output_shape": 7}, {"output_dim": 7}),
    "grouped": ({"num_key_value_heads": 2}, {"num_key_value_heads": 2}),
    "multi-query": ({"num_key_value_heads": 1}, {"num_key_value_heads": 1}),
}


def keras_layer(options):
    if "num_key_value_heads" in options:
        return keras.layers.GroupQueryAttention(K, H, **options)
    return keras.layers.MultiHeadAttention(H, K, **options)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("case", KERAS)
def test_outputs_match_keras(case, built):
    source_options, options = KERAS[case]
    source, layer = keras_layer(source_options), MultiHeadAttention(H, K, **options)
    query, value, key = normal(B, T, D), normal(B, S, 6, seed=1), normal(B, S, 5, seed=2)
    source.build(query.shape, value.shape, key.shape)
    if built:
        layer.build(query.shape, value.shape, key.shape)
    load_keras(layer, randomize(source))
    attention_mask = np.random.default_rng(3).random((B, T, S)) < 0.7
    attention_mask[..., 0] = True  # Keras attends to all keys in a fully masked row
    for masks in (
        {},
        {"value_mask": MASK},
        {"key_mask": MASK, "query_mask": np.ones((B, T), bool)},
        {"attention_mask": attention_mask},
        {"attention_mask": attention_mask, "value_mask": MASK, "use_causal_mask": True},
    ):
        masks = {
            name: ops.convert_to_tensor(mask) if name != "use_causal_mask" else mask
            for name, mask in masks.items()
        }
        expected = source(query, value, key, **masks, return_attention_scores=True)
        results = layer(query, value, key, **masks, return_attention_scores=True)
        assert_all_close(results, expected)


@pytest.mark.parametrize("case", ["plain", "no-bias", "value-dim", "grouped"])
def test_fused_projection_matches_keras(case):
    source_options, options = KERAS[case]
    source, layer = keras_layer(source_options), MultiHeadSelfAttention(H, K, **options)
    x = normal(B, S, D)
    source.build(x.shape, x.shape)
    load_keras(layer, randomize(source))
    masked = {"use_causal_mask": True, "return_attention_scores": True}
    assert_all_close(layer(x, mask=MASK, **masked), source(x, x, value_mask=MASK, **masked))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [{}, {"kdim": 5, "vdim": 6}], ids=["fused", "separate"])
def test_outputs_match_pytorch(widths, bias):
    torch.manual_seed(0)
    source = torch.nn.MultiheadAttention(D, H, bias=bias, batch_first=True, **widths)
    for weight in source.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    query = normal(B, T, D)
    value, key = normal(B, S, widths.get("vdim", D)), normal(B, S, widths.get("kdim", D), seed=2)
    layer = MultiHeadAttention(H, D // H, use_bias=bias)
    load_torch(layer, source.state_dict())
    padding_mask, future_mask = torch.from_numpy(~MASK), torch.from_numpy(~np.tri(T, S, dtype=bool))
    for options, masks in (
        ({}, {}),
        ({"value_mask": MASK}, {"key_padding_mask": padding_mask}),
        (
            {"value_mask": MASK, "use_causal_mask": True},
            {"key_padding_mask": padding_mask, "attn_mask": future_mask},
        ),
    ):
        with torch.no_grad():
            tensors = map(torch.from_numpy, (query, key, value))
            expected = source(*tensors, **masks, average_attn_weights=False)
        results = layer(query, value, key, **options, return_attention_scores=True)
        assert_all_close(results, [x.numpy() for x in expected])
    if not widths:
        fused = MultiHeadSelfAttention(H, D // H, use_bias=bias)
        load_torch(fused, source.state_dict())
        assert_all_close([fused(query)], [layer(query, query)])


def built_keras_layer(source=None, **options):
    source = source or keras.layers.MultiHeadAttention(H, K, **options)
    source.build((B, T, D), (B, S, D))
    return source


@pytest.mark.parametrize(
    "make, make_source, message",
    [
        (
            lambda: MultiHeadAttention(2, 4),
            lambda: built_keras_layer(),
            r"query kernel must have the shape \(None, 2, 4\).* Received: shape=\(8, 4, 2\)",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: built_keras_layer(value_dim=3),
            r"value kernel must have the shape \(None, 4, 2\).* Received: shape=\(8, 4, 3\)",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: built_keras_layer(keras.layers.GroupQueryAttention(K, H, 1)),
            r"key kernel must have the shape \(None, 4, 2\).* Received: shape=\(8, 1, 2\)",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: built_keras_layer(output_shape=7),
            r"output kernel must have the shape \(8, 8\).* Received: shape=\(8, 7\)",
        ),
        (
            lambda: MultiHeadAttention(H, K, use_bias=False),
            lambda: built_keras_layer(),
            "`use_bias` of the layer must be True, .* Received: use_bias=False",
        ),
        (
            lambda: MultiHeadSelfAttention(H, K),
            lambda: built_keras_layer(use_bias=False),
            "`use_bias` of the layer must be False, .* Received: use_bias=True",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: built_keras_layer(keras.layers.GroupQueryAttention(K, H, H, use_gate=True)),
            "must not have the option `use_gate`.* Received: use_gate=True",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: keras.layers.MultiHeadAttention(H, K, name="source"),
            "must be a layer with weights.* Received: source, which is not built",
        ),
    ],
)
def test_keras_layers_that_do_not_match(make, make_source, message):
    layer = make()
    layer.build(*[(B, T, D)] * (1 if isinstance(layer, MultiHeadSelfAttention) else 2))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=message):
        load_keras(layer, make_source())
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


class LaterAttention(keras.layers.MultiHeadAttention):
    """`MultiHeadAttention` as a later Keras may have it."""

    def __init__(self, *args, sharpness=1.0, hidden_option=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.sharpness = sharpness  # `hidden_option` is in no attribute

    def get_config(self):
        return {**super().get_config(), "sharpness": self.sharpness}


@pytest.mark.parametrize(
    "options, received",
    [
        ({"sliding_window": 2}, "sliding_window=2"),
        ({"use_gate": True}, "use_gate=True"),
        ({"attention_axes": (2,)}, r"attention_axes=\(2,\)"),
    ],
)
def test_options_that_are_not_represented_are_refused(options, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        load_keras(MultiHeadAttention(H, K), keras.layers.MultiHeadAttention(H, K, **options))


def test_options_of_a_later_keras_are_refused_unless_they_have_their_default(monkeypatch):
    monkeypatch.setattr("keras_attention.interop.attention.SOURCES", (LaterAttention,))
    with pytest.raises(ValueError, match="Received: sharpness=2.0"):
        load_keras(MultiHeadAttention(H, K), LaterAttention(H, K, sharpness=2.0))
    with pytest.raises(ValueError, match="Received: hidden_option='not in its config'"):
        load_keras(MultiHeadAttention(H, K), LaterAttention(H, K))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="must be one of .*LaterAttention"):
        load_keras(MultiHeadAttention(H, K), LaterAttention(H, K))


@pytest.mark.parametrize("change", ["lora", "int8"])
def test_weights_in_another_form_are_refused(change):
    def changed(layers):
        for dense in layers:
            dense.enable_lora(2) if change == "lora" else dense.quantize("int8")

    source, layer = built_keras_layer(), MultiHeadAttention(H, K)
    layer.build((B, T, D), (B, S, D))
    changed([layer.query_dense])
    with pytest.raises(ValueError, match="`layer` must have no LoRA or quantized weights"):
        load_keras(layer, source)
    changed([source.query_dense])
    with pytest.raises(ValueError, match="floating-point kernels and biases only"):
        load_keras(MultiHeadAttention(H, K), source)


@pytest.mark.parametrize("options", [{"soft_cap": 5.0}, {"window": 2}, {"qk_norm": True}])
def test_options_of_the_layer_that_the_source_does_not_have_are_refused(options):
    ((name, value),) = options.items()
    layer = MultiHeadAttention(H, K, **options)
    for load, source in ((load_keras, built_keras_layer()), (load_torch, torch_state())):
        with pytest.raises(ValueError, match=f"Received: {name}={value}"):
            load(layer, source)


def torch_state(**options):
    return torch.nn.MultiheadAttention(D, H, **options).state_dict()


@pytest.mark.parametrize(
    "make, state, message",
    [
        (
            lambda: MultiHeadAttention(H, 3),
            lambda: torch_state(),
            r"query kernel must have the shape \(8, 12\).* Received: shape=\(8, 8\)",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: torch_state(add_bias_kv=True),
            r"must have only the weights of query, .* Received also: \['bias_k', 'bias_v'\]",
        ),
        (
            lambda: MultiHeadAttention(H, K),
            lambda: torch_state(bias=False),
            "`use_bias` of the layer must be False, .* Received: use_bias=True",
        ),
        (
            lambda: MultiHeadSelfAttention(H, K),
            lambda: torch_state(kdim=5),
            r"must be a MultiHeadAttention .* MultiHeadSelfAttention, widths \[8, 8, 5\]",
        ),
    ],
)
def test_pytorch_states_that_do_not_match(make, state, message):
    with pytest.raises(ValueError, match=message):
        load_torch(make(), state())
