"""Numbers of the texts in packed rows."""

import numpy as np

from helpers import array
from keras_attention.ops.segments import source_segments, target_segments


def test_source_segments():
    ids = np.array([[5, 2, 2, 6, 7, 2, 0, 0], [5, 6, 7, 8, 9, 5, 6, 7]])  # an empty text; no END
    expected = [[0, 0, 1, 2, 2, 2, 3, 3], [0] * 8]
    assert array(source_segments(ids)).tolist() == expected


def test_target_segments():
    ids = np.array([[1, 5, 1, 1, 6, 7, 0, 0], [0, 0, 1, 8, 9, 5, 1, 7]])
    expected = [[0, 0, 1, 2, 2, 2, 2, 2], [-1, -1, 0, 0, 0, 0, 1, 1]]
    assert array(target_segments(ids)).tolist() == expected
