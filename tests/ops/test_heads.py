"""Splitting and merging of heads."""

import numpy as np

from helpers import array, normal
from keras_attention.ops.heads import merge_heads, split_heads

B, H, T, D = 2, 4, 3, 6


def test_heads_are_slices_of_the_width():
    x = normal(B, T, H * D)
    split = array(split_heads(x, H))
    for head in range(H):
        np.testing.assert_array_equal(split[:, head], x[..., head * D : (head + 1) * D])
    np.testing.assert_array_equal(array(merge_heads(split)), x)
