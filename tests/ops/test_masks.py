import numpy as np
from keras import ops

from keras_attention.ops import masks


def array(x):
    return ops.convert_to_numpy(x)


def test_padding_keeps_what_is_not_zero():
    ids = ops.array([[5, 1, 0], [0, 7, 7]])
    assert array(masks.padding(ids)).tolist() == [[True, True, False], [False, True, True]]


def test_causal_keeps_the_past():
    np.testing.assert_array_equal(array(masks.causal(3, 4))[0], np.tri(3, 4, dtype=bool))


def test_combine_is_a_logical_and():
    a, b = np.array([[1], [0]]), np.array([[True, False]])
    np.testing.assert_array_equal(array(masks.combine(a, None, b)), (a != 0) & b)


def test_combine_of_nothing_keeps_everything():
    assert masks.combine(None, None) is None


def test_axes_of_queries_and_keys():
    mask = np.array([[True, False, True]])
    assert array(masks.of_queries(mask)).shape == (1, 3, 1)
    assert array(masks.of_keys(mask)).shape == (1, 1, 3)
    assert masks.of_queries(None) is None and masks.of_keys(None) is None


def test_positions_count_what_is_kept():
    mask = np.array([[True, True, False, False], [False, False, True, True]])
    assert array(masks.positions(mask))[mask].tolist() == [0, 1, 0, 1]


def test_window_reaches_width_to_both_sides():
    places = ops.reshape(ops.arange(7), (1, 1, 7))
    centers = ops.array([[[0.0], [3.0], [3.4], [20.0]]])
    expected = [[abs(s - c) <= 2 for s in range(7)] for c in (0, 3, 3.4, 20)]
    assert array(masks.window(places, centers, 2))[0].tolist() == expected
