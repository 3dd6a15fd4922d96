"""The stack of encoder blocks."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import (
    AlibiBias,
    EncoderBlock,
    RelativePositionBias,
    RotaryEmbedding,
    TransformerEncoder,
)
from keras_attention.layers.transformer import stack
from keras_attention.ops import masks

B, S, D, F, H = 2, 6, 8, 12, 2
KEPT = np.array([[1, 1, 1, 1, 0, 0], [1] * 6], bool)
SCHEMES = {
    "none": lambda: None,
    "rotary": RotaryEmbedding,
    "relative": lambda: RelativePositionBias(H),
    "alibi": lambda: AlibiBias(H),
}
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def made(num_layers=2, dtype=None, **options):
    """A built stack, all of whose weights are far from zero and from one."""
    encoder = TransformerEncoder(EncoderBlock(H, F, **options), num_layers, dtype=dtype)
    encoder.build((B, S, D))
    rng = np.random.default_rng(1)
    encoder.set_weights([rng.normal(size=w.shape) * 0.5 for w in encoder.get_weights()])
    return encoder


@pytest.mark.parametrize("norm", ["pre", "post", "sandwich"])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_it_is_block_after_block_and_a_norm_where_none_was(norm, kind):
    encoder, x = made(3, norm=norm, norm_kind=kind), data(B, S, D)
    limit = np.tri(S, S, 1, dtype=bool)
    got = array(encoder(x, mask=KEPT, attention_mask=limit)["sequence"])
    want = x
    for block in encoder.blocks:
        want = block(want, mask=KEPT, attention_mask=limit)
    want = array(want).astype("float64")
    if norm != "post":
        scale, *bias = encoder.norm[0].get_weights()
        center = want.mean(-1, keepdims=True) if kind == "layer" else 0.0
        want = want - center
        epsilon = 1e-5 if kind == "layer" else 1e-6
        want = want / np.sqrt((want**2).mean(-1, keepdims=True) + epsilon) * scale + sum(bias)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_blocks_have_weights_of_their_own_and_one_scheme_of_positions():
    encoder = made(3, positions=RelativePositionBias(H))
    tables = {id(block.self_attention.positions.table) for block in encoder.blocks}
    assert len(tables) == 1
    kernels = {id(block.feed_forward.inner.kernel) for block in encoder.blocks}
    assert len(kernels) == 3
    a_block = 4 + 4 + 4  # attention, feed-forward and two norms
    assert len(encoder.trainable_weights) == 3 * a_block + 2 + 1  # with the last norm and the table


@pytest.mark.parametrize(
    "num_layers, rates", [(1, [0.0]), (2, [0.0, 0.3]), (4, [0, 0.1, 0.2, 0.3])]
)
def test_stochastic_depth_grows_linearly(num_layers, rates):
    """Huang et al. 2016, equation 4, from 0 at the first block."""
    blocks = stack(EncoderBlock(H, F, stochastic_depth=0.3), num_layers, "float32")
    for place in ("own", "feed"):
        np.testing.assert_allclose([getattr(block, place).depth.rate for block in blocks], rates)


@every_scheme
def test_padding_on_either_side_changes_nothing(scheme):
    encoder = made(positions=SCHEMES[scheme](), window=4)
    x, junk = data(B, S, D), np.full((B, 3, D), 50.0, "float32")
    want = array(encoder(x)["sequence"])
    for parts in ([x, junk], [junk, x]):
        mask = np.concatenate([np.full((B, part.shape[1]), part is x) for part in parts], 1)
        got = array(encoder(np.concatenate(parts, 1), mask=mask)["sequence"])
        np.testing.assert_allclose(got[:, mask[0]], want, rtol=1e-4, atol=1e-5)


@every_scheme
def test_packed_texts_are_the_texts_alone(scheme):
    encoder = made(positions=SCHEMES[scheme](), window=4)
    texts = [data(1, length, D, seed=length) for length in (4, 3, 5)]
    segments = np.array([[1] * 4 + [2] * 3 + [3] * 5])
    packed = masks.segment_mask(segments, segments)
    got = array(encoder(np.concatenate(texts, 1), attention_mask=packed)["sequence"])
    want = [array(encoder(text)["sequence"]) for text in texts]
    np.testing.assert_allclose(got, np.concatenate(want, 1), rtol=1e-4, atol=1e-5)


def test_keras_own_mask_is_looked_at():
    encoder, x = made(), data(B, S, D)
    x[~KEPT] = 0
    limit = ops.convert_to_tensor(np.tri(S, S, 1, dtype=bool))
    for options in ({}, {"attention_mask": limit}):
        got = encoder(keras.layers.Masking()(x), **options)["sequence"]
        want = encoder(x, mask=KEPT, **options)["sequence"]
        np.testing.assert_allclose(array(got), array(want), atol=1e-6)


@every_scheme
def test_it_comes_back_from_its_file(scheme, tmp_path):
    options = {"stochastic_depth": 0.2, "norm": "sandwich", "num_key_value_heads": 1}
    inputs, encoder = keras.Input((None, D)), made(3, positions=SCHEMES[scheme](), **options)
    encoded = encoder(inputs)
    assert encoded["sequence"].shape == (None, None, D)
    keras.Model(inputs, encoded).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.layers[1]
    assert again.get_config() == encoder.get_config()
    assert [b.own.depth.rate for b in again.blocks] == [b.own.depth.rate for b in encoder.blocks]
    assert len({id(block.positions) for block in again.blocks}) == 1
    x = data(B, S, D)
    np.testing.assert_array_equal(array(loaded(x)["sequence"]), array(encoder(x)["sequence"]))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_the_stacks_own(policy):
    full, half = made(norm="post"), made(norm="post", dtype=policy)
    x, mask = data(B, S, D), np.array([[False] * S, KEPT[0]])
    got, want = (encoder(x, mask=mask)["sequence"] for encoder in (half, full))
    assert keras.backend.standardize_dtype(got.dtype) == half.compute_dtype
    assert {block.compute_dtype for block in half.blocks} == {half.compute_dtype}
    np.testing.assert_allclose(array(ops.cast(got, "float32")), array(want), atol=0.1)


def test_a_stack_has_blocks():
    with pytest.raises(ValueError, match="`num_layers` must be positive. Received: num_layers=0"):
        TransformerEncoder(EncoderBlock(H, F), num_layers=0)
