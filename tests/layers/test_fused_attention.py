"""Layers in the fused form against the explicit one, which is tested against the equations.

`explicit_scope` decides the form; blocks are small, so that there are several.
"""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, gradients, normal
from keras_attention import layers
from keras_attention.layers import AlibiBias, RelativePositionBias, RotaryEmbedding
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.fused import explicit_scope, is_explicit

B, T, D, H = 2, 9, 8, 4
MHA = {"num_heads": H, "key_dim": 4}
CROSS = {
    "dot": lambda: layers.DotAttention(),
    "content": lambda: layers.ContentAttention(3.0),
    "luong-general": lambda: layers.LuongAttention("general", scale=True),
    "luong-concat": lambda: layers.LuongAttention("concat", units=5),
    "bahdanau": lambda: layers.BahdanauAttention(5),
    "bahdanau-normalized": lambda: layers.BahdanauAttention(5, normalize=True),
    "multi-head": lambda: layers.MultiHeadAttention(**MHA, value_dim=3),
    "multi-head-capped": lambda: layers.MultiHeadAttention(
        **MHA, num_key_value_heads=1, soft_cap=2.0, qk_norm=True
    ),
}
SELF = {
    "self": lambda: layers.MultiHeadSelfAttention(**MHA),
    "self-window": lambda: layers.MultiHeadSelfAttention(**MHA, window=3, num_key_value_heads=2),
    "self-rotary": lambda: layers.MultiHeadSelfAttention(**MHA, positions=RotaryEmbedding()),
    "self-alibi": lambda: layers.MultiHeadSelfAttention(**MHA, positions=AlibiBias(H), window=4),
    "self-relative": lambda: layers.MultiHeadSelfAttention(
        **MHA, positions=RelativePositionBias(H)
    ),
}


FEW = {
    "tensorflow": [*CROSS, *SELF],
    "torch": [*CROSS, *SELF],
    "jax": ["bahdanau", "multi-head-capped", "self-alibi", "self-relative"],
}[keras.backend.backend()]
MASK = np.arange(T) < np.array([[T], [5]])


def built(name):
    """Returns a layer with small blocks and random weights, its inputs and a call with masks."""
    layer = (CROSS | SELF)[name]()
    layer.block_size = 4
    x = normal(B, T, D)
    pairs = np.random.default_rng(2).random((B, T, T)) < 0.7
    pairs[0, 2] = False  # a query with nothing to attend to
    if name in SELF:
        inputs = [x]
        options = {"mask": MASK, "attention_mask": pairs, "use_causal_mask": True}
    else:
        inputs = [x, normal(B, T, D, seed=1)]
        options = {"value_mask": MASK, "attention_mask": pairs, "query_mask": MASK[:, ::-1]}
    options = {k: ops.convert_to_tensor(x) if isinstance(x, np.ndarray) else x
               for k, x in options.items()}  # fmt: skip
    layer.build(*(x.shape for x in inputs))
    rng = np.random.default_rng(1)
    layer.set_weights([0.7 * rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer, inputs, options


def output_and_gradients(call, inputs, variables, explicit):
    with explicit_scope(explicit):
        output = array(call(*(ops.convert_to_tensor(x) for x in inputs)))
        direction = normal(*output.shape, seed=5)
        return [
            output,
            *gradients(lambda *x: ops.sum(ops.multiply(call(*x), direction)), inputs, variables),
        ]


@pytest.mark.parametrize("name", FEW)
def test_fused_equals_explicit(name):
    """Output and gradients of inputs and weights: without masks, with all, and with a causal one.

    PyTorch has a kernel for the first and the last.
    """
    layer, inputs, options = built(name)
    calls = [layer, lambda *x: layer(*x, **options)]
    if name in SELF:
        calls.append(lambda x: layer(x, use_causal_mask=True))
    for call in calls:
        want = output_and_gradients(call, inputs, layer.trainable_variables, True)
        got = output_and_gradients(call, inputs, layer.trainable_variables, False)
        for x, y in zip(got, want, strict=True):
            if y is None:
                assert x is None or not x.any()
                continue
            scale = max(1.0, np.abs(y).max())
            np.testing.assert_allclose(x / scale, y / scale, rtol=0, atol=1e-5)


def test_position_bias_of_a_stack_and_packed_texts_are_fused():
    layer = layers.MultiHeadSelfAttention(**MHA)
    layer.build((B, T, D))
    layer.block_size = 4
    bias = RelativePositionBias(H)
    bias.build()
    segments = ops.convert_to_tensor(np.repeat([[0, 1, 2]], 3, 1).repeat(B, 0))
    mask = AttentionMask(causal=True, query_segments=segments, key_segments=segments)

    def call(x):
        return layer.attend_to_self(x, mask=mask, position_bias=bias).context

    variables = [*layer.trainable_variables, bias.table]
    want, got = (output_and_gradients(call, [normal(B, T, D)], variables, e) for e in (True, False))
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5 * max(1.0, np.abs(y).max()))


@pytest.mark.parametrize("explicit", [True, False])
def test_dropout_keeps_the_mean_and_its_gradient_belongs_to_its_output(explicit):
    """The output is linear in the values, so their gradient gives it back."""
    layer = layers.MultiHeadAttention(1, 2, dropout=0.3, use_bias=False)
    layer.build((1, 32, D), (1, 32, D))
    layer.block_size = 16
    query, key = normal(1, 32, D), normal(1, 32, D, seed=1)
    value = 1 + normal(1, 32, D, seed=2)
    state = array(layer.dropout.seed_generator.state)

    def total(value):
        layer.dropout.seed_generator.state.assign(state)
        return ops.sum(layer(query, value, key, training=True))

    with explicit_scope(explicit):
        (gradient,) = gradients(total, [value])
        result = float(total(ops.convert_to_tensor(value)))
        np.testing.assert_allclose((gradient * value).sum(), result, rtol=1e-4)
        plain = array(layer(query, value, key))
        rows = (np.repeat(x, 40, axis=0) for x in (query, value, key))
        mean = array(layer(*rows, training=True)).mean(0)
    assert 0.01 < np.abs(mean - plain).max() < 0.3 * np.abs(plain).max()


@pytest.mark.parametrize(
    "queries, keys, explicit",
    [(512, 512, True), (513, 512, False), (16, 100_000, True), (17, 100_000, False)],
)
def test_form_follows_from_the_lengths(queries, keys, explicit):
    assert is_explicit(queries, keys, block_size=512) == explicit


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("explicit", [None, False])
def test_xla_compiles_graphs_of_unknown_length(explicit):
    """They are explicit, unless `explicit_scope` says otherwise."""
    import tensorflow as tf

    layer, (x,), _ = built("self-relative")
    variables = layer.trainable_variables

    @tf.function(input_signature=[tf.TensorSpec((None, None, D))], jit_compile=True)
    def graph(x):
        with tf.GradientTape() as tape:
            output = layer(x, use_causal_mask=True)
        return output, tape.gradient(output, [variable.value for variable in variables])

    with explicit_scope(explicit):
        output, received = graph(x)
    with explicit_scope(True), tf.GradientTape() as tape:
        want = layer(x, use_causal_mask=True)
    np.testing.assert_allclose(output, want, atol=1e-5)
    gradients_of_variables = tape.gradient(want, [variable.value for variable in variables])
    for x, y in zip(received, gradients_of_variables, strict=True):
        x, y = array(tf.convert_to_tensor(x)), array(tf.convert_to_tensor(y))
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5 * max(1.0, np.abs(y).max()))
