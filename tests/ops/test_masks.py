import numpy as np
from keras import ops

from helpers import array
from keras_attention.ops import masks


def test_padding_keeps_what_is_not_zero():
    ids = ops.array([[5, 1, 0], [0, 7, 7]])
    assert array(masks.padding_mask(ids)).tolist() == [[True, True, False], [False, True, True]]


def test_causal_keeps_the_past():
    np.testing.assert_array_equal(array(masks.causal_mask(3, 4))[0], np.tri(3, 4, dtype=bool))


def test_combine_is_a_logical_and():
    a, b = np.array([[1], [0]]), np.array([[True, False]])
    np.testing.assert_array_equal(array(masks.combine_masks(a, None, b)), (a != 0) & b)


def test_combine_of_nothing_keeps_everything():
    assert masks.combine_masks(None, None) is None


def test_axes_of_queries_and_keys():
    mask = np.array([[True, False, True]])
    assert array(masks.expand_query_mask(mask)).shape == (1, 3, 1)
    assert array(masks.expand_key_mask(mask)).shape == (1, 1, 3)
    assert masks.expand_query_mask(None) is None and masks.expand_key_mask(None) is None


def test_positions_count_what_is_kept():
    mask = np.array([[True, True, False, False], [False, False, True, True]])
    assert array(masks.positions_from_mask(mask))[mask].tolist() == [0, 1, 0, 1]


def test_window_reaches_width_to_both_sides():
    places = ops.reshape(ops.arange(7), (1, 1, 7))
    centers = ops.array([[[0.0], [3.0], [3.4], [20.0]]])
    expected = [[abs(s - c) <= 2 for s in range(7)] for c in (0, 3, 3.4, 20)]
    assert array(masks.window_mask(places, centers, 2))[0].tolist() == expected


def test_sliding_sees_less_than_width_to_both_sides():
    queries, keys = np.array([[0, 5, 2], [9, 4, -1]]), np.array([[0, 1, 2, 3], [8, 9, 4, -1]])
    seen = array(masks.sliding_window_mask(ops.array(queries), ops.array(keys), 2))
    for b, t, s in np.ndindex(2, 3, 4):
        assert seen[b, t, s] == (abs(int(queries[b, t]) - int(keys[b, s])) < 2)


def test_sliding_and_causal_see_width_items():
    places = ops.expand_dims(ops.arange(5), 0)
    seen = array(
        masks.combine_masks(masks.sliding_window_mask(places, places, 3), masks.causal_mask(5, 5))
    )[0]
    np.testing.assert_array_equal(seen, np.tri(5, dtype=bool) & ~np.tri(5, k=-3, dtype=bool))
    alone = array(masks.sliding_window_mask(places, places, 1))[0]
    np.testing.assert_array_equal(alone, np.eye(5, dtype=bool))


def test_packed_sees_its_own_segment():
    queries, keys = np.array([[1, 1, 2], [3, 0, 3]]), np.array([[1, 2, 2, 0], [3, 3, 4, 0]])
    seen = array(masks.segment_mask(ops.array(queries), ops.array(keys)))
    for b, t, s in np.ndindex(2, 3, 4):
        assert seen[b, t, s] == (queries[b, t] == keys[b, s])


def test_segment_positions_count_from_0_in_each_segment():
    segments = np.array([[1, 1, 1, 2, 2, 3], [4, 5, 5, 5, 5, 0]])
    alone = array(masks.segment_positions(ops.array(segments)))
    assert alone.tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 0]]
    assert alone.dtype == "int32"


def test_segment_positions_do_not_count_what_is_dropped():
    segments = np.array([[1, 1, 1, 2, 2, 2], [1, 1, 2, 2, 2, 2]])
    mask = np.array([[0, 1, 1, 1, 0, 1], [1, 0, 0, 0, 1, 1]], bool)
    counted = array(masks.segment_positions(ops.array(segments), ops.array(mask)))
    assert counted[mask].tolist() == [0, 1, 0, 1, 0, 0, 1]


def test_segment_positions_of_one_segment_are_positions():
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1]], bool)
    one = np.ones((2, 5), "int32")
    np.testing.assert_array_equal(
        array(masks.segment_positions(ops.array(one), ops.array(mask))),
        array(masks.positions_from_mask(mask)),
    )


def test_last_is_the_last_kept_of_a_row():
    mask = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    expected = np.zeros_like(mask)
    expected[[0, 1, 2, 3], [1, 2, 3, 0]] = True
    np.testing.assert_array_equal(array(masks.last_mask(ops.array(mask))), expected)
