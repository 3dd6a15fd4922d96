"""Decoder blocks against float64 NumPy, against PyTorch, and their steps against a full pass."""

import itertools

import keras
import numpy as np
import pytest
import torch
from keras import ops

from blocks import (
    ENCODED_MASK,
    ENCODINGS,
    MASK,
    NORMS,
    B,
    D,
    E,
    Equations,
    F,
    H,
    S,
    T,
    assert_all_close,
    built,
    every_kind,
    every_norm,
    fill_from_torch,
    torch_layer,
)
from helpers import array, normal
from keras_attention.layers import DecoderBlock, RotaryEmbedding
from keras_attention.ops.beam_cache import cache_step, init_beams, slot_indices
from keras_attention.ops.kv_cache import count_rows, transposed_factors_scope


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_norm
@every_kind
@pytest.mark.parametrize("cross", [True, False])
def test_decoder_block_follows_the_equations(norm, kind, cross):
    inputs = [normal(B, T, D)] + [normal(B, S, E, seed=1)] * cross
    shapes = [array.shape for array in inputs]
    block = built(DecoderBlock, *shapes, norm=norm, norm_kind=kind, cross_attention=cross)
    masks = {"mask": MASK, **({"encoded_mask": ENCODED_MASK} if cross else {})}
    outputs = block(*inputs, **masks, return_attention_scores=True)
    paper = Equations(block, norm, kind)
    x, mask = inputs[0].astype("float64"), MASK[:, None] & np.tri(T, dtype=bool)
    expected = paper.residual("self_attention", x, paper.self_attention(mask))
    if cross:
        attend = paper.cross_attention(inputs[1], ENCODED_MASK)
        expected = paper.residual("cross_attention", expected, attend)
    weights = paper.attention_weights
    expected = paper.residual("feed_forward", expected, paper.feed_forward)
    assert_all_close(outputs, (expected, weights))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_decoder_block_equals_pytorch(norm, activation):
    theirs = torch_layer(torch.nn.TransformerDecoderLayer, norm, activation)
    block = DecoderBlock(H, F, norm=norm, activation=activation)
    x, encoded = normal(B, T, D), normal(B, S, D, seed=1)
    block.build(x.shape, encoded.shape)
    fill_from_torch(block, theirs, ["self_attention", "cross_attention", "feed_forward"])
    with torch.no_grad():
        expected = theirs(
            torch.from_numpy(x),
            torch.from_numpy(encoded),
            tgt_mask=torch.from_numpy(~np.tri(T, dtype=bool)),
            tgt_key_padding_mask=torch.from_numpy(~MASK),
            memory_key_padding_mask=torch.from_numpy(~ENCODED_MASK),
        ).numpy()
    assert_all_close([block(x, encoded, mask=MASK, encoded_mask=ENCODED_MASK)], [expected])


def combinations():
    """Every combination; shared encodings alternate over the other options in the quick tests."""
    for i, norm in enumerate(NORMS):
        for j, encoding in enumerate(ENCODINGS):
            for cross, shared in itertools.product((True, False), repeat=2):
                is_quick = shared == ((i + j + cross) % 2 == 0)
                marks = () if is_quick else pytest.mark.slow
                yield pytest.param(norm, encoding, cross, shared, marks=marks)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("norm, encoding, cross, shared", list(combinations()))
def test_steps_of_beams_equal_the_full_pass(norm, encoding, cross, shared):
    """Two beams with different tokens, with grouped queries and a window that limits the cache."""
    beams, batch = 2, 3
    x, encoded = normal(batch * beams, T, D), [normal(batch, S, E, seed=1)] * cross
    shapes = [array.shape for array in (x, *encoded)]
    encoding = ENCODINGS[encoding]()
    options = {"num_key_value_heads": 1, "window": 3, "norm": norm, "cross_attention": cross}
    bias = encoding if shared else None
    if shared and encoding is not None:
        encoding.build(())
    block = built(DecoderBlock, *shapes, positions=None if shared else encoding, **options)
    tiled = [np.repeat(array, beams, axis=0) for array in encoded]
    expected, expected_weights = map(
        array, block(x, *tiled, position_bias=bias, return_attention_scores=True)
    )

    memory = block.memory(*encoded or [None])
    cache = block.self_attention.init_cache(batch, beams, T)
    length = count_rows(cache.recent) // beams
    assert length == 3 < T
    for t in range(T):
        output, weights, cache = block.step(
            ops.convert_to_tensor(np.reshape(x[:, t], (batch, beams, D))), memory, cache,
            cache_step(t, np.array([[t]], "int32"), init_beams(batch, beams, T), cache),
            position_bias=bias, return_weights=True,
        )  # fmt: skip
        assert_all_close([ops.reshape(output, (-1, D))], [expected[:, t]])
        weights = np.moveaxis(array(weights), 2, 1)  # (batch, beams, H, S or T)
        weights = weights.reshape(batch * beams, H, -1)
        expected_step = expected_weights[:, :, t]
        if not cross:
            indices = array(slot_indices(t, length))
            expected_step = np.where(indices >= 0, expected_step[..., indices], 0.0)
        np.testing.assert_allclose(weights, expected_step, rtol=1e-4, atol=1e-5)


def test_transposed_factors_give_the_same_outputs():
    """Of a memory and of a cache, for the whole sequence and for a step."""
    x, encoded = normal(B, T, D), normal(B, S, E, seed=1)
    block = built(DecoderBlock, x.shape, encoded.shape)

    def outputs():
        memory = block.memory(encoded)
        whole, _, sequence = block.full_pass(x, memory, mask=np.tri(T, dtype=bool)[None])
        cache = block.self_attention.fill_cache(sequence, 1, T + 1)
        step = cache_step(T, np.array([[T]], "int32"), init_beams(B, 1, T + 1), cache)
        return memory.values, whole, block.step(x[:, :1], memory, cache, step)[0]

    values, *expected = outputs()
    with transposed_factors_scope():
        transposed, *received = outputs()
    np.testing.assert_array_equal(array(transposed), array(values).swapaxes(2, 3))
    assert_all_close(received, expected)


@pytest.mark.parametrize("cross", [True, False])
def test_full_pass_returns_the_cache_of_the_steps(cross):
    x, encoded = normal(B, T, D), [normal(B, S, E, seed=1)] * cross
    shapes = [array.shape for array in (x, *encoded)]
    block = built(DecoderBlock, *shapes, positions=RotaryEmbedding(), cross_attention=cross)
    memory = block.memory(*encoded or [None])
    causal = np.tri(T, dtype=bool)[None]
    expected, _, _ = block.full_pass(x, memory, mask=causal)
    _, weights, cache = block.full_pass(x[:, : T - 1], memory, mask=causal[:, : T - 1, : T - 1])
    assert weights is None
    cache = block.self_attention.fill_cache(cache, 1, T)
    step = cache_step(T - 1, np.array([[T - 1]], "int32"), init_beams(B, 1, T), cache)
    output, weights, _ = block.step(x[:, T - 1 :], memory, cache, step)
    assert weights is None
    assert_all_close([output], [expected[:, T - 1 :]])


def test_window_applies_to_self_attention_only():
    """Cross-attention attends to all positions of a longer source."""
    x, encoded = normal(B, T, D), normal(B, S, E, seed=1)
    block = built(DecoderBlock, x.shape, encoded.shape, window=1)
    y, weights = block(x, encoded, return_attention_scores=True)
    assert block.self_attention.window == 1 and block.cross_attention.window is None
    assert array(weights).shape == (B, H, T, S) and (array(weights) > 0).all()
    changed = np.array(x)
    changed[:, :-1] += 1  # with a window of 1, a position attends only to itself
    np.testing.assert_allclose(array(block(changed, encoded))[:, -1], array(y)[:, -1], atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    x, encoded = normal(B, T, D), normal(B, S, E, seed=1)
    full = built(DecoderBlock, x.shape, encoded.shape, norm="sandwich", qk_norm=True)
    half = DecoderBlock.from_config({**full.get_config(), "dtype": policy})
    half.build(x.shape, encoded.shape)
    half.set_weights(full.get_weights())
    masks = {"mask": np.array([[False] * T, [True] * T]), "encoded_mask": ENCODED_MASK}
    output, expected = half(x, encoded, **masks), full(x, encoded, **masks)
    assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
    np.testing.assert_allclose(array(ops.cast(output, "float32")), array(expected), atol=0.1)
