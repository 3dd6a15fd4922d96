"""The Transformer encoder, a stack of blocks."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, assert_outputs_as_declared, normal
from keras_attention.layers import (
    AlibiBias,
    EncoderBlock,
    RelativePositionBias,
    RotaryEmbedding,
    TransformerEncoder,
    make_blocks,
)
from keras_attention.ops import masks

B, S, D, F, H = 2, 6, 8, 12, 2
MASK = np.array([[1, 1, 1, 1, 0, 0], [1] * 6], bool)
ENCODINGS = {
    "none": lambda: None,
    "rotary": RotaryEmbedding,
    "relative": lambda: RelativePositionBias(H),
    "alibi": lambda: AlibiBias(H),
}
every_encoding = pytest.mark.parametrize("encoding", ENCODINGS)


def built(num_layers=2, dtype=None, encoding="none", **options):
    """Returns a built encoder with random weights of normal size."""
    positions, bias = ENCODINGS[encoding](), None
    if encoding == "relative":
        positions, bias = None, positions
    options = {"num_heads": H, "intermediate_dim": F, "positions": positions, **options}
    blocks = make_blocks(EncoderBlock, num_layers, dtype=dtype, **options)
    encoder = TransformerEncoder(blocks, bias, dtype=dtype)
    encoder.build((B, S, D))
    rng = np.random.default_rng(1)
    encoder.set_weights([rng.normal(size=w.shape) * 0.5 for w in encoder.get_weights()])
    return encoder


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("norm", ["pre", "post", "sandwich"])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_blocks_are_applied_in_turn_with_a_final_norm_unless_post_ln(norm, kind):
    encoder, x = built(3, norm=norm, norm_kind=kind), normal(B, S, D)
    masks = {"mask": MASK, "attention_mask": np.tri(S, S, 1, dtype=bool)}
    output = array(encoder(x, **masks)["sequence"])
    expected = x
    for block in encoder.blocks:
        expected = block(expected, **masks)
    expected = array(expected).astype("float64")
    assert (encoder.final_norm is None) == (norm == "post")
    if norm != "post":
        scale, *bias = encoder.final_norm.get_weights()
        if kind == "layer":
            expected = expected - expected.mean(-1, keepdims=True)
        epsilon = 1e-5 if kind == "layer" else 1e-6
        root = np.sqrt((expected**2).mean(-1, keepdims=True) + epsilon)
        expected = expected / root * scale + sum(bias)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_blocks_have_separate_weights_and_share_the_position_bias():
    encoder = built(3, encoding="relative")
    kernels = {id(block.feed_forward.inner.kernel) for block in encoder.blocks}
    assert len(kernels) == 3
    weights_per_block = 4 + 4 + 4  # attention, feed-forward network and two norms
    others = 2 + 1  # final norm and table
    assert len(encoder.trainable_weights) == 3 * weights_per_block + others


@every_encoding
def test_padding_on_either_side_does_not_change_the_output(encoding):
    encoder = built(encoding=encoding, window=4)
    x, padding = normal(B, S, D), np.full((B, 3, D), 50.0, "float32")
    expected = array(encoder(x)["sequence"])
    for parts in ([x, padding], [padding, x]):
        mask = np.concatenate([np.full((B, part.shape[1]), part is x) for part in parts], 1)
        output = array(encoder(np.concatenate(parts, 1), mask=mask)["sequence"])
        np.testing.assert_allclose(output[:, mask[0]], expected, rtol=1e-4, atol=1e-5)


@every_encoding
def test_packed_texts_give_the_outputs_of_separate_texts(encoding):
    encoder = built(encoding=encoding, window=4)
    texts = [normal(1, length, D, seed=length) for length in (4, 3, 5)]
    segments = np.array([[1] * 4 + [2] * 3 + [3] * 5])
    mask = masks.segment_mask(segments, segments)
    output = array(encoder(np.concatenate(texts, 1), attention_mask=mask)["sequence"])
    expected = [array(encoder(text)["sequence"]) for text in texts]
    np.testing.assert_allclose(output, np.concatenate(expected, 1), rtol=1e-4, atol=1e-5)


def test_keras_mask_is_used():
    encoder, x = built(), normal(B, S, D)
    x[~MASK] = 0
    attention_mask = ops.convert_to_tensor(np.tri(S, S, 1, dtype=bool))
    for options in ({}, {"attention_mask": attention_mask}):
        output = encoder(keras.layers.Masking()(x), **options)["sequence"]
        expected = encoder(x, mask=MASK, **options)["sequence"]
        np.testing.assert_allclose(array(output), array(expected), atol=1e-6)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_encoding
def test_saved_model_restores_the_encoder(encoding, tmp_path):
    options = {"stochastic_depth": 0.2, "norm": "sandwich", "num_key_value_heads": 1}
    inputs, encoder = keras.Input((None, D)), built(3, encoding=encoding, **options)
    encoded = encoder(inputs)
    assert encoded["sequence"].shape == (None, None, D)
    keras.Model(inputs, encoded).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    restored = loaded.layers[1]
    configs = [
        [{**block.get_config(), "positions": type(block.positions)} for block in each.blocks]
        for each in (restored, encoder)
    ]
    assert configs[0] == configs[1]
    rates = [
        [block.self_attention_residual.stochastic_depth.rate for block in each.blocks]
        for each in (restored, encoder)
    ]
    assert rates[0] == rates[1] == [0.0, 0.1, 0.2]
    assert len(restored.weights) == len(encoder.weights)  # one table of relative positions
    x = normal(B, S, D)
    np.testing.assert_array_equal(array(loaded(x)["sequence"]), array(encoder(x)["sequence"]))


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@every_encoding
def test_mixed_precision(policy, encoding):
    full = built(norm="post", encoding=encoding)
    half = built(norm="post", encoding=encoding, dtype=policy)
    x, mask = normal(B, S, D), np.array([[False] * S, MASK[0]])
    output, expected = (encoder(x, mask=mask)["sequence"] for encoder in (half, full))
    assert_outputs_as_declared(half, {"sequence": output}, x)
    assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
    assert {block.compute_dtype for block in half.blocks} == {half.compute_dtype}
    np.testing.assert_allclose(array(ops.cast(output, "float32")), array(expected), atol=0.1)


@pytest.mark.parametrize("blocks", [[], None])
def test_an_encoder_needs_blocks(blocks):
    with pytest.raises(ValueError, match="`blocks` must be a list of at least one block. Received"):
        TransformerEncoder(blocks)


def test_blocks_that_share_weights_raise():
    """They would not share them after saving and loading."""
    positions, block = RelativePositionBias(H), EncoderBlock(H, F)
    for blocks in (
        [block, block],
        make_blocks(EncoderBlock, 2, num_heads=H, intermediate_dim=F, positions=positions),
    ):
        with pytest.raises(ValueError, match="`blocks` must not share weights.* Received: blocks="):
            TransformerEncoder(blocks).build((B, S, D))
