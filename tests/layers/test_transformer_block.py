"""Options, training, saving and masks that encoder and decoder blocks have in common."""

import keras
import numpy as np
import pytest
from keras import ops

from blocks import (
    ENCODED_MASK,
    ENCODINGS,
    MASK,
    B,
    D,
    E,
    F,
    H,
    S,
    T,
    built,
)
from helpers import array, assert_trains_and_reloads, normal
from keras_attention.layers import (
    AlibiBias,
    DecoderBlock,
    EncoderBlock,
    RelativePositionBias,
    make_blocks,
)

ALL_OPTIONS = {
    "dropout": 0.1, "attention_dropout": 0.2, "intermediate_dropout": 0.3, "norm": "sandwich",
    "norm_kind": "rms", "activation": "swiglu", "num_key_value_heads": 1, "use_bias": False,
    "qk_norm": True, "soft_cap": 5.0, "window": 3, "stochastic_depth": 0.4,
}  # fmt: skip


@pytest.mark.parametrize("cls", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize(
    "num_layers, rates", [(1, [0.0]), (2, [0.0, 0.3]), (4, [0, 0.1, 0.2, 0.3])]
)
def test_stochastic_depth_increases_linearly(cls, num_layers, rates):
    """Huang et al. 2016, equation 4, from 0 in the first block."""
    blocks = make_blocks(
        cls,
        num_layers,
        num_heads=H,
        intermediate_dim=F,
        stochastic_depth=0.3,
        dtype="mixed_float16",
    )
    residuals = ["self_attention_residual", "feed_forward_residual"]
    for name in residuals + ["cross_attention_residual"] * (cls is DecoderBlock):
        layers = [getattr(block, name).stochastic_depth for block in blocks]
        np.testing.assert_allclose([layer.rate for layer in layers], rates)
    assert [block.name for block in blocks] == [f"block_{i}" for i in range(num_layers)]
    assert {block.compute_dtype for block in blocks} == {"float16"}


def test_make_blocks_needs_a_positive_number_of_layers():
    with pytest.raises(ValueError, match="`num_layers` must be positive. Received: num_layers=0"):
        make_blocks(EncoderBlock, 0, num_heads=H, intermediate_dim=F)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("cls", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_config_restores_the_block(cls, encoding):
    shapes = [(B, T, D), (B, S, E)] if cls is DecoderBlock else [(B, T, D)]
    block = built(cls, *shapes, positions=ENCODINGS[encoding](), **ALL_OPTIONS)
    assert ALL_OPTIONS.items() <= block.get_config().items()
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
    assert restored.get_config() == block.get_config()
    restored.set_weights(block.get_weights())
    inputs = [normal(*shape) for shape in shapes]
    np.testing.assert_array_equal(array(restored(*inputs)), array(block(*inputs)))


@pytest.mark.slow_on_tensorflow
@pytest.mark.usefixtures("eager")
def test_blocks_train_with_an_empty_source_and_are_saved(tmp_path):
    source, target = (keras.Input((None,), dtype="int32", name=n) for n in ("source", "target"))
    embed = keras.layers.Embedding(9, D, mask_zero=True)
    encoded, self_weights = EncoderBlock(H, F, **{**ALL_OPTIONS, "stochastic_depth": 0.1})(
        embed(source), return_attention_scores=True
    )
    x, weights = DecoderBlock(H, F, positions=RelativePositionBias(H), stochastic_depth=0.1)(
        embed(target), encoded, return_attention_scores=True
    )
    assert self_weights.shape == (None, H, None, None) and weights.shape == (None, H, None, None)
    assert x.shape == (None, None, D)
    model = keras.Model([source, target], keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.01), "mse")  # updates weights however small the gradient
    ids = [np.array([[0] * S, [3, 4, 5, 0, 0]]), np.array([[1, 4, 5, 6], [1, 3, 0, 0]])]
    assert_trains_and_reloads(model, ids, np.ones((B, T, 1)), tmp_path, epochs=3)


def test_keras_masks_are_used_and_propagated():
    x, encoded = normal(B, T, D), normal(B, S, E, seed=1)
    x[~MASK], encoded[~ENCODED_MASK] = 0, 0
    masked, masked_encoded = (keras.layers.Masking()(array) for array in (x, encoded))
    attention_mask = {"attention_mask": ops.convert_to_tensor(np.tri(T, T, 1, dtype=bool))}
    encoder, decoder = built(EncoderBlock, x.shape), built(DecoderBlock, x.shape, encoded.shape)
    causal = built(DecoderBlock, x.shape, cross_attention=False)
    for options in ({}, attention_mask):
        expected = encoder(x, mask=MASK, **options)
        pairs = [(encoder(masked, **options), expected)]
        expected = decoder(x, encoded, mask=MASK, encoded_mask=ENCODED_MASK, **options)
        pairs.append((decoder(masked, masked_encoded, **options), expected))
        pairs.append((causal(masked, **options), causal(x, mask=MASK, **options)))
        for output, expected in pairs:
            np.testing.assert_allclose(array(output), array(expected), atol=1e-6)
            np.testing.assert_array_equal(array(output._keras_mask), MASK)


@pytest.mark.parametrize("cls", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"intermediate_dim": 0},
            "`intermediate_dim` must be positive. Received: intermediate_dim=0",
        ),
        ({"norm": "both"}, "`norm` must be one of .* Received: norm='both'"),
        ({"norm_kind": "batch"}, "`norm_kind` must be one of .* Received: norm_kind='batch'"),
        ({"activation": "rulu"}, "`activation` must be one of .* Received: activation='rulu'"),
        ({"num_heads": 3}, "`num_heads` must divide the width .* num_heads=3, width=8"),
        ({"num_heads": 0}, "`num_heads` must divide the width .* num_heads=0, width=8"),
        (
            {"num_heads": 4, "num_key_value_heads": 3},
            "`num_key_value_heads` must divide .* num_heads=4, num_key_value_heads=3",
        ),
        ({"window": 0}, "`window` must be positive. Received: window=0"),
        ({"positions": AlibiBias(4)}, "num_heads=2, positions.num_heads=4"),
    ],
)
def test_invalid_arguments_raise(cls, options, message):
    shapes = [(B, T, D), (B, S, E)] if cls is DecoderBlock else [(B, T, D)]
    with pytest.raises(ValueError, match=message):
        cls(**{"num_heads": H, "intermediate_dim": F, **options}).build(*shapes)


def test_shapes_that_do_not_match_raise():
    x, encoded = normal(B, T, D), normal(B, S, E)
    with pytest.raises(
        ValueError, match=r"`attention_mask` must .* \(2, 4, 4\)\. Received: .*\(2, 2, 4, 4\)"
    ):
        EncoderBlock(H, F)(x, attention_mask=np.ones((B, H, T, T), bool))
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 5\)"):
        DecoderBlock(H, F)(x, encoded, mask=ENCODED_MASK)
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 4\)"):
        DecoderBlock(H, F)(x, encoded, encoded_mask=MASK)
    for block in (DecoderBlock(H, F), built(DecoderBlock, x.shape, encoded.shape)):
        with pytest.raises(ValueError, match="`encoded` is required .* Received: encoded=None"):
            block(x)
