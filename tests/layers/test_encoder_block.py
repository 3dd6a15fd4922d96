"""Encoder blocks against float64 NumPy written from the equations, and against PyTorch."""

import numpy as np
import pytest
import torch

from blocks import (
    MASK,
    B,
    D,
    Equations,
    F,
    H,
    T,
    assert_all_close,
    built,
    every_kind,
    every_norm,
    fill_from_torch,
    torch_layer,
)
from helpers import array, normal
from keras_attention.layers import EncoderBlock


@every_norm
@every_kind
def test_encoder_block_follows_the_equations(norm, kind):
    x, attention_mask = normal(B, T, D), np.tri(T, T, 1, dtype=bool)
    block = built(EncoderBlock, x.shape, norm=norm, norm_kind=kind)
    masks = {"mask": MASK, "attention_mask": attention_mask}
    outputs = block(x, **masks, return_attention_scores=True)
    paper = Equations(block, norm, kind)
    mask = MASK[:, None] & attention_mask
    expected = paper.residual("self_attention", x.astype("float64"), paper.self_attention(mask))
    expected = paper.residual("feed_forward", expected, paper.feed_forward)
    assert_all_close(outputs, (expected, paper.attention_weights))
    np.testing.assert_array_equal(array(block(x, **masks)), array(outputs[0]))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_block_equals_pytorch(norm, activation):
    theirs = torch_layer(torch.nn.TransformerEncoderLayer, norm, activation)
    block = EncoderBlock(H, F, norm=norm, activation=activation)
    x = normal(B, T, D)
    block.build(x.shape)
    fill_from_torch(block, theirs, ["self_attention", "feed_forward"])
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x), src_key_padding_mask=torch.from_numpy(~MASK)).numpy()
    assert_all_close([block(x, mask=MASK)], [expected])
