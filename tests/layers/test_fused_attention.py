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
from keras_attention.models import causal_lm
from keras_attention.ops import fused
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.fused import explicit_scope, is_explicit
from keras_attention.training import MaskedCrossEntropy

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
ON_JAX = keras.backend.backend() == "jax"
EXHAUSTIVE = [pytest.mark.slow, pytest.mark.exhaustive]
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


@pytest.mark.slow_on_tensorflow(quick_cases=1)
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
@pytest.mark.parametrize("training", [True, False])
def test_form_of_unknown_lengths_is_chosen_at_run_time_in_training(training):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((), tf.int32)] * 2)
    def graph(queries, keys):
        return is_explicit(queries, keys, 512, training), is_explicit(16, keys, 512, training)

    lengths = [(512, 512), (513, 512), (16, 9_000), (30, 9_000), (100_000, 100_000), (20, 0)]
    forms = [tuple(map(bool, graph(*pair))) for pair in lengths]
    explicit = [True, False, True, False, False, True] if training else [True] * 6
    assert forms == [(form, True) for form in explicit]


@pytest.fixture
def no_query_is_few(monkeypatch):
    """Lets the block size alone decide, so that short sequences have several blocks."""
    monkeypatch.setattr(fused, "MAX_EXPLICIT_QUERIES", 0)


def graph_of_unknown_length(layer, name, jit_compile):
    """Returns a graph of output and gradients, in training, with causal and other masks."""
    import tensorflow as tf

    inputs = [tf.TensorSpec((None, None, D))] * (1 if name in SELF else 2)
    masks = [tf.TensorSpec((None, None), tf.bool), tf.TensorSpec((None, None, None), tf.bool)]

    @tf.function(input_signature=[inputs, masks], jit_compile=jit_compile)
    def graph(inputs, masks):
        keys, pairs = masks
        options = {"mask" if name in SELF else "value_mask": keys, "attention_mask": pairs}
        sources = [*inputs, *(variable.value for variable in layer.trainable_variables)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = layer(*inputs, **options, use_causal_mask=True, training=True)
            total = tf.reduce_sum(tf.sin(output))
        gradients = tape.gradient(total, sources, unconnected_gradients="zero")
        return [output, *map(tf.convert_to_tensor, gradients)]

    return graph


@pytest.mark.slow_on_tensorflow(cases=4)
@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "name, jit_compile",
    [
        ("bahdanau", False),
        ("multi-head-capped", False),
        ("self-relative", True),
        ("self-alibi", False),
        *((name, False) for name in ("dot", "luong-concat", *SELF) if name != "self-alibi"),
        ("bahdanau", True),
        ("self-alibi", True),
    ],
)
def test_one_graph_of_unknown_length_has_both_forms(name, jit_compile, no_query_is_few):
    """One block is explicit, several are blockwise; both equal the graph that is explicit."""
    layer, _, _ = built(name)
    graph = graph_of_unknown_length(layer, name, jit_compile)
    explicit_graph = graph_of_unknown_length(layer, name, None)
    for length in (4, T):
        inputs = [normal(B, length, D, seed=i) for i in range(1 if name in SELF else 2)]
        pairs = np.random.default_rng(2).random((B, length, length)) < 0.7
        masks = [MASK[:, :length], pairs]
        received = graph(inputs, masks)
        with explicit_scope(True):
            want = explicit_graph(inputs, masks)
        for x, y in zip(received, want, strict=True):
            scale = max(1.0, np.abs(y).max())
            np.testing.assert_allclose(x / scale, y / scale, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_lengths_decide_at_run_time_where_dropout_is_drawn(no_query_is_few):
    """The forms draw other numbers, so that output and gradients tell which one has run."""
    layer = layers.MultiHeadSelfAttention(**MHA, dropout=0.5)
    layer.build((B, T, D))
    layer.block_size = 4
    generator = layer.dropout.seed_generator.state
    state = array(generator)
    graphs = {form: graph_of_unknown_length(layer, "self", None) for form in (None, True, False)}
    for length in (4, T):
        x, masks = normal(B, length, D), [MASK[:, :length], np.ones((B, length, length), bool)]
        results = {}
        for form, graph in graphs.items():
            generator.assign(state)
            with explicit_scope(form):
                results[form] = graph([x], masks)
        for x, y in zip(results[None], results[length == 4], strict=True):
            np.testing.assert_allclose(x, y, atol=1e-5 * max(1.0, np.abs(y).max()))
    # of several blocks; one block draws what the explicit form draws
    assert np.abs(results[None][0] - results[True][0]).max() > 0.01


class BatchesOfTwoLengths(keras.utils.PyDataset):
    """Batches of several blocks, and of one, which Keras traces for any length on TensorFlow."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        length = (T, 4)[index]
        ids = np.random.default_rng(index).integers(4, 12, (B, length)).astype("int32")
        return ids, np.where(np.arange(length) < length - 1, ids, 0)


@pytest.mark.slow_on_tensorflow
@pytest.mark.parametrize(
    "policy, tolerance, jit_compile",
    [
        pytest.param("float32", 1e-5, False, marks=[pytest.mark.slow] if ON_JAX else []),
        pytest.param("float32", 1e-5, True, marks=[pytest.mark.slow, pytest.mark.tensorflow_only]),
        pytest.param("mixed_bfloat16", 2e-2, False, marks=EXHAUSTIVE),
    ],
)
def test_fit_with_batches_of_several_lengths(policy, tolerance, jit_compile, no_query_is_few):
    """Blockwise for one batch and explicit for the other: the weights are those of the explicit
    form. The layers of the model share one trace on TensorFlow."""
    weights = []
    for form in (None, True):
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(policy)
        model = causal_lm(12, size="tiny", num_layers=2, dropout=0.0, positions="relative")
        keras.config.set_dtype_policy("float32")
        for block in model.decoder.stack.blocks:
            block.self_attention.block_size = 4
        model.compile(keras.optimizers.SGD(0.1), MaskedCrossEntropy(), jit_compile=jit_compile)
        with explicit_scope(form):
            model.fit(BatchesOfTwoLengths(), shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for x, y in zip(*weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1.0, np.abs(y).max()))


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.tensorflow_only
@pytest.mark.parametrize("explicit", [None, False])
def test_xla_compiles_graphs_of_unknown_length(explicit):
    """They are explicit in inference, unless `explicit_scope` says otherwise."""
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
