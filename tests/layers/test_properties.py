"""Properties of every layer, for drawn shapes, masks and dtypes.

A layer joins by one line in `LAYERS`. One example of each runs with the other tests, except on
JAX, which compiles every shape: there they are slow tests. Many run by

    pytest tests/layers/test_properties.py --hypothesis-profile=thorough
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from helpers import float64, gradients
from keras_attention import layers

D = 8  # width of the inputs
MASKS = ("nothing", "holes", "right", "left", "all", "none")
# float64 is what TensorFlow alone computes under Keras; see `ops.dtypes`.
DTYPES = ("mixed_float16", "float16", "float32", "bfloat16", "mixed_bfloat16", "float64")
TOLERANCES = {"float16": 2e-2, "bfloat16": 1.5e-1, "float32": 1e-5, "float64": 1e-11}

slow_on_jax = pytest.mark.slow if keras.backend.backend() == "jax" else lambda test: test


class Kind(NamedTuple):
    """Inputs of a layer and its call.

    Attributes:
        inputs: callable from (generator, batch, length, scale) to a list of arrays.
        call: callable from (layer, inputs, mask) to an output, or a pair of output and weights.
        masked: index of the input that the mask belongs to; `None` if the layer takes no mask.
        per_item: whether the output has an axis for the items of the masked input, whose values at
            masked positions have no meaning.
    """

    inputs: Callable
    call: Callable
    masked: int | None = None
    per_item: bool = False


def normal(rng, scale, *shape):
    return scale * rng.normal(size=shape)


def attend(layer, inputs, mask):
    return layer(*inputs, value_mask=mask, return_attention_scores=True)


def attend_to_self(layer, inputs, mask):
    return layer(*inputs, mask=mask, return_attention_scores=True)


def with_mask(layer, inputs, mask):
    output = layer(*inputs, mask=mask)
    return output["sequence"] if isinstance(output, dict) else output


def run_decoder_cell(layer, inputs, mask):
    x, values = (ops.cast(x, layer.compute_dtype) for x in inputs)
    if not layer.built:
        layer.build((None, 1, D), memory_width=D)
    memory = layer.memory(values, mask)
    state = layer.initial_state([ops.zeros((ops.shape(x)[0], 1, D), x.dtype)], memory)
    return layer.call_sequence(x, state, memory, return_weights=True)


def embed(layer, inputs, mask):
    return layer(inputs[0])


def encode_text(layer, inputs, mask):
    return layer(inputs[0])["sequence"]


def cross_inputs(rng, batch, length, scale):
    return [normal(rng, scale, batch, 3, D), normal(rng, scale, batch, length, D)]


def sequence_inputs(rng, batch, length, scale):
    return [normal(rng, scale, batch, length, D)]


CROSS = Kind(cross_inputs, attend, masked=1)
SELF = Kind(sequence_inputs, attend_to_self, masked=0, per_item=True)
SEQUENCE = Kind(sequence_inputs, with_mask, masked=0, per_item=True)
POOLED = Kind(sequence_inputs, with_mask, masked=0)
UNMASKED = Kind(sequence_inputs, embed)
CELL = Kind(cross_inputs, run_decoder_cell, masked=1)
IDS = Kind(lambda rng, batch, length, scale: [rng.integers(1, 12, (batch, length))], embed)
TEXT = Kind(IDS.inputs, encode_text)
FEATURES = Kind(
    lambda rng, batch, length, scale: [normal(rng, min(scale, 4.0), batch, 2, length, D)],
    lambda layer, inputs, mask: layer(*inputs, return_attention_scores=True),
)
IMAGE = Kind(lambda rng, batch, length, scale: [normal(rng, 1.0, batch, 8, 8, 3)], embed)
PIXELS = Kind(
    lambda rng, batch, length, scale: [rng.integers(0, 256, (batch, 8, 8, 3))], encode_text
)


def gru():
    # TensorFlow has no QR decomposition in bfloat16, which Keras's default initializer needs
    return keras.layers.GRUCell(D, recurrent_initializer="glorot_uniform")


def bahdanau():
    return layers.BahdanauAttention(4)


def blocks(cls=layers.EncoderBlock, **options):
    return [cls(num_heads=2, intermediate_dim=12, **options) for _ in range(2)]


MHA = {"num_heads": 4, "key_dim": 2}
BLOCK = {"num_heads": 2, "intermediate_dim": 12}
# name: kind, class, options; options that are layers are functions, called under the dtype policy
LAYERS: dict[str, tuple[Kind, Callable, dict[str, Any]]] = {
    "bahdanau": (CROSS, layers.BahdanauAttention, {"units": 4}),
    "bahdanau-normalized": (CROSS, layers.BahdanauAttention, {"units": 4, "normalize": True}),
    "dot": (CROSS, layers.DotAttention, {"scaled": False}),
    "scaled-dot": (CROSS, layers.DotAttention, {}),
    "content": (CROSS, layers.ContentAttention, {"sharpness": 5.0}),
    "luong-dot": (CROSS, layers.LuongAttention, {"scale": True}),
    "luong-general": (CROSS, layers.LuongAttention, {"score_mode": "general"}),
    "luong-concat": (CROSS, layers.LuongAttention, {"score_mode": "concat"}),
    "luong-location": (CROSS, layers.LuongAttention, {"score_mode": "location", "max_length": 4}),
    "luong-local-m": (CROSS, layers.LuongAttention, {"window": "local-m", "window_width": 1}),
    "luong-local-p": (CROSS, layers.LuongAttention, {"window": "local-p", "window_width": 2}),
    "monotonic": (CROSS, layers.MonotonicAttention, {"units": 4}),
    "monotonic-luong": (CROSS, layers.MonotonicAttention, {
        "units": D, "score_mode": "luong", "mode": "recursive", "normalize": True}),
    "multi-head": (CROSS, layers.MultiHeadAttention, MHA),
    "multi-head-grouped": (CROSS, layers.MultiHeadAttention, {
        **MHA, "num_key_value_heads": 2, "qk_norm": True, "soft_cap": 5.0, "output_dim": 6}),
    "multi-head-self": (SELF, layers.MultiHeadSelfAttention, {**MHA, "window": 2}),
    "multi-head-rotary": (SELF, layers.MultiHeadSelfAttention, {
        **MHA, "positions": layers.RotaryEmbedding}),
    "multi-head-alibi": (SELF, layers.MultiHeadSelfAttention, {
        **MHA, "positions": lambda: layers.AlibiBias(4)}),
    "multi-head-relative": (SELF, layers.MultiHeadSelfAttention, {
        **MHA, "positions": lambda: layers.RelativePositionBias(4)}),
    "encoder-block": (SELF, layers.EncoderBlock, BLOCK),
    "encoder-block-post": (SELF, layers.EncoderBlock, {
        **BLOCK, "norm": "post", "norm_kind": "rms", "activation": "swiglu"}),
    "encoder-block-sandwich": (SELF, layers.EncoderBlock, {
        **BLOCK, "norm": "sandwich", "activation": "gelu", "qk_norm": True}),
    "decoder-block": (
        Kind(sequence_inputs, lambda layer, inputs, mask: layer(inputs[0], mask=mask), 0, True),
        layers.DecoderBlock, {**BLOCK, "cross_attention": False}),
    "decoder-block-cross": (
        Kind(cross_inputs, lambda layer, inputs, mask: layer(*inputs, encoded_mask=mask), 1),
        layers.DecoderBlock, BLOCK),
    "transformer-encoder": (SEQUENCE, layers.TransformerEncoder, {"blocks": blocks}),
    "recurrent-encoder": (SEQUENCE, layers.RecurrentEncoder, {"cell": gru, "num_layers": 2}),
    "recurrent-encoder-lstm": (SEQUENCE, layers.RecurrentEncoder, {
        "cell": lambda: keras.layers.LSTMCell(4, recurrent_initializer="glorot_uniform")}),
    "pooling-mean": (POOLED, layers.Pooling, {}),
    "pooling-first": (POOLED, layers.Pooling, {"kind": "first"}),
    "pooling-attention": (POOLED, layers.Pooling, {"kind": "attention"}),
    "classifier-head": (POOLED, layers.ClassifierHead, {"num_classes": 3}),
    "tagger-head": (SEQUENCE, layers.TaggerHead, {"num_classes": 3}),
    "feed-forward": (UNMASKED, layers.FeedForward, {"intermediate_dim": 12}),
    "feed-forward-gated": (UNMASKED, layers.FeedForward, {
        "intermediate_dim": 12, "activation": "geglu"}),
    "decoder-cell": (CELL, layers.RecurrentDecoderCell, {"cell": gru}),
    "bahdanau-cell": (CELL, layers.BahdanauDecoderCell, {
        "cell": gru, "attention": bahdanau, "gate": True}),
    "luong-cell": (CELL, layers.LuongDecoderCell, {
        "cell": gru, "attention": layers.LuongAttention, "input_feeding": True}),
    "luong-cell-parallel": (CELL, layers.LuongDecoderCell, {
        "cell": gru, "attention": lambda: layers.MultiHeadAttention(**MHA)}),
    "token-embedding": (IDS, layers.TokenEmbedding, {
        "vocabulary_size": 12, "embedding_dim": D, "scale": True, "positions": "sinusoidal"}),
    "token-embedding-learned": (IDS, layers.TokenEmbedding, {
        "vocabulary_size": 12, "embedding_dim": D, "positions": "learned", "max_length": 9}),
    "text-encoder": (TEXT, layers.TextEncoder, {
        "embedding": lambda: layers.TokenEmbedding(12, D, positions="marian"),
        "body": lambda: layers.TransformerEncoder(blocks())}),
    "self-attention-2d": (FEATURES, layers.SelfAttention2D, {"reduction": 2}),
    "non-local-gaussian": (FEATURES, layers.NonLocal2D, {"form": "gaussian"}),
    "non-local": (FEATURES, layers.NonLocal2D, {"pool_size": 2}),
    "non-local-dot": (FEATURES, layers.NonLocal2D, {"form": "dot_product"}),
    "non-local-concat": (FEATURES, layers.NonLocal2D, {"form": "concatenation"}),
    "residual-cnn": (IMAGE, layers.ResidualCNN, {"filters": (4,)}),
    "patches": (IMAGE, layers.Patches, {"patch_size": 4, "hidden_dim": D}),
    "image-encoder": (PIXELS, layers.ImageEncoder, {
        "backbone": lambda: layers.Patches(4, D), "image_size": 8}),
}  # fmt: skip


class Example(NamedTuple):
    dtype: str
    batch: int
    length: int
    mask: str
    scale: float
    seed: int


examples = st.builds(
    Example,
    # the first ones are those of the example that always runs
    dtype=st.sampled_from(DTYPES),
    batch=st.sampled_from([2, 3, 1, 0]),
    length=st.sampled_from([4, 1, 2, 5]),
    mask=st.sampled_from(MASKS),
    scale=st.sampled_from([1.0, 0.0, 30.0]),
    seed=st.integers(0, 10_000),
)


def make(name, dtype):
    """Builds a layer with everything inside it under a dtype policy."""
    kind, cls, options = LAYERS[name]
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        is_layer = callable  # all other options are numbers and strings
        return kind, cls(**{key: x() if is_layer(x) else x for key, x in options.items()})
    finally:
        keras.config.set_dtype_policy(before)


def draw_mask(rng, kind, batch, length):
    """Returns a bool array (batch, length), True where an item takes part, or None."""
    if kind == "none":
        return None
    mask = np.ones((batch, length), bool)
    lengths = rng.integers(1, length + 1, (batch, 1))
    if kind == "right":
        mask = np.arange(length) < lengths
    elif kind == "left":
        mask = np.arange(length) >= length - lengths
    elif kind == "holes":
        mask = rng.random((batch, length)) < 0.5
    elif kind == "nothing":
        mask[:1] = False  # the first row has nothing to attend to
    return mask


def convert(layer, arrays):
    """Returns float64 arrays as tensors of the layer's dtype, and integers as int32."""
    dtype = layer.compute_dtype
    wide = "float64" if dtype == "float64" else "float32"
    return [
        ops.convert_to_tensor(x.astype("int32"))
        if x.dtype.kind == "i"
        else ops.cast(ops.convert_to_tensor(x.astype(wide)), dtype)
        for x in arrays
    ]


def run(kind, layer, arrays, mask):
    """Returns output and weights, `None` for a layer without weights, as tensors."""
    mask = None if mask is None else ops.convert_to_tensor(mask)
    result = kind.call(layer, convert(layer, arrays), mask)
    return tuple(result) if isinstance(result, (tuple, list)) else (result, None)


def assert_close(result, expected, dtype):
    result, expected = float64(result), float64(expected)
    size = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(result / size, expected / size, rtol=0, atol=TOLERANCES[dtype])


def without_masked_items(kind, output, mask):
    """Returns an output with zeros at the masked items, if it has an axis for them."""
    if mask is None or not kind.per_item:
        return output
    return ops.where(mask[..., None], output, ops.zeros_like(output))


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@slow_on_jax
@pytest.mark.parametrize("name", LAYERS)
@given(example=examples)
def test_properties(name, example):
    dtype, batch, length, mask_kind, scale, seed = example
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        dtype = "float32"
    kind, layer = make(name, dtype)
    rng = np.random.default_rng(seed)
    arrays = kind.inputs(rng, batch, length, scale)
    mask = None if kind.masked is None else draw_mask(rng, mask_kind, batch, length)
    if keras.backend.backend() == "tensorflow" and batch == 0 and kind in (IMAGE, PIXELS):
        return  # TensorFlow's convolutions fail at an empty batch on a CPU

    output, weights = run(kind, layer, arrays, mask)
    dtype = layer.compute_dtype
    is_finite(output, weights, dtype)
    has_declared_shape(layer, kind, arrays, output)
    # The gradient of a normalization at 0 is up to 1,000, that of two is beyond float16.
    if scale or kind is CROSS or dtype in ("float32", "float64"):
        gradients_are_finite(kind, layer, arrays, mask)
    if weights is not None and mask is not None and not kind.per_item:
        nothing_at_masked_items(weights, mask)
    output = without_masked_items(kind, output, mask)
    if mask is not None:
        masked_values_have_no_influence(kind, layer, arrays, mask, output)
    if batch > 1:
        a_row_alone_is_the_row_in_a_batch(kind, layer, arrays, mask, output)
    if kind.masked is not None:
        padding_has_no_influence(kind, layer, arrays, mask, output)


def is_finite(output, weights, dtype):
    for result in (output, weights):
        if result is not None:
            assert keras.backend.standardize_dtype(result.dtype) == dtype
            assert np.isfinite(float64(result)).all()


def has_declared_shape(layer, kind, arrays, output):
    if kind is CELL:
        return  # its call has nested inputs
    specs = [keras.KerasTensor(x.shape, "int32" if x.dtype.kind == "i" else layer.compute_dtype)
             for x in arrays]  # fmt: skip
    declared = layer.compute_output_spec(*specs)
    declared = declared["sequence"] if isinstance(declared, dict) else declared
    assert tuple(declared.shape) == tuple(output.shape)
    assert declared.dtype == keras.backend.standardize_dtype(output.dtype)


def gradients_are_finite(kind, layer, arrays, mask):
    inputs = convert(layer, arrays)
    is_float = not any(x.dtype.kind == "i" for x in arrays)
    tensor_mask = None if mask is None else ops.convert_to_tensor(mask)

    def total(*inputs):
        result = kind.call(layer, list(inputs) if is_float else convert(layer, arrays), tensor_mask)
        output = result[0] if isinstance(result, (tuple, list)) else result
        cotangent = np.random.default_rng(1).normal(size=output.shape)
        output = ops.cast(without_masked_items(kind, output, tensor_mask), "float32")
        return ops.sum(output * ops.convert_to_tensor(cotangent.astype("float32")))

    results = gradients(total, inputs if is_float else [], layer.trainable_variables)
    assert all(np.isfinite(x).all() for x in results if x is not None)
    if is_float and mask is not None and results[kind.masked] is not None:
        assert not results[kind.masked][~mask].any()


def nothing_at_masked_items(weights, mask):
    masked = np.broadcast_to(~mask[:, None], (len(mask), *weights.shape[-2:]))
    weights = float64(weights)
    if weights.ndim == 4:  # heads
        masked = np.broadcast_to(masked[:, None], weights.shape)
    assert not weights[masked].any()


def masked_values_have_no_influence(kind, layer, arrays, mask, output):
    other = [x.copy() for x in arrays]
    noise = 10 * np.random.default_rng(2).normal(size=arrays[kind.masked].shape)
    other[kind.masked] = np.where(mask[..., None], other[kind.masked], noise)
    result, _ = run(kind, layer, other, mask)
    assert_close(without_masked_items(kind, result, mask), output, layer.compute_dtype)


def a_row_alone_is_the_row_in_a_batch(kind, layer, arrays, mask, output):
    last = [x[-1:] for x in arrays]
    last_mask = None if mask is None else mask[-1:]
    result, _ = run(kind, layer, last, last_mask)
    result = without_masked_items(kind, result, last_mask)
    assert_close(result, output[-1:], layer.compute_dtype)


def padding_has_no_influence(kind, layer, arrays, mask, output):
    """Two more masked items on the right change nothing."""
    arrays = [*arrays]
    x = arrays[kind.masked]
    if mask is None:
        mask = np.ones(x.shape[:2], bool)
    mask = np.pad(mask, ((0, 0), (0, 2)))
    arrays[kind.masked] = np.pad(x, ((0, 0), (0, 2), (0, 0)), constant_values=3.0)
    result, _ = run(kind, layer, arrays, mask)
    if kind.per_item:
        result = without_masked_items(kind, result, mask)[:, :-2]
    assert_close(result, output, layer.compute_dtype)


def test_every_layer_has_a_line():
    """Base classes and the parts of other layers are tested with the layers that use them."""
    tested = {cls.__name__ for _, cls, _ in LAYERS.values()}
    elsewhere = {
        "BaseAttention", "ScoredAttention", "TransformerBlock", "PositionEncoding",
        "Residual", "PromptEncoder", "make_blocks",
        "RotaryEmbedding", "AlibiBias", "RelativePositionBias",
        "HardAttentionCell", "KerasApplicationBackbone",
    }  # fmt: skip
    assert set(layers.__all__) == tested | elsewhere
