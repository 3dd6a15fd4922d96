"""Masks against loops over queries and keys."""

import numpy as np
from keras import ops

from helpers import array
from keras_attention.ops import masks


def test_padding_mask_is_false_at_zeros():
    ids = ops.array([[5, 1, 0], [0, 7, 7]])
    assert array(masks.padding_mask(ids)).tolist() == [[True, True, False], [False, True, True]]


def test_causal_mask_is_lower_triangular():
    np.testing.assert_array_equal(array(masks.causal_mask(3, 4))[0], np.tri(3, 4, dtype=bool))


def test_combine_masks_is_a_logical_and():
    a, b = np.array([[1], [0]]), np.array([[True, False]])
    np.testing.assert_array_equal(array(masks.combine_masks(a, None, b)), (a != 0) & b)


def test_combine_masks_of_none_is_none():
    assert masks.combine_masks(None, None) is None


def test_query_and_key_masks_are_expanded_to_the_axes_of_scores():
    mask = np.array([[True, False, True]])
    assert array(masks.expand_query_mask(mask)).shape == (1, 3, 1)
    assert array(masks.expand_key_mask(mask)).shape == (1, 1, 3)
    assert masks.expand_query_mask(None) is None and masks.expand_key_mask(None) is None


def test_positions_are_counted_over_unmasked_items():
    mask = np.array([[True, True, False, False], [False, False, True, True]])
    assert array(masks.positions_from_mask(mask))[mask].tolist() == [0, 1, 0, 1]


def test_window_mask_reaches_width_on_either_side():
    positions = ops.reshape(ops.arange(7), (1, 1, 7))
    centers = ops.array([[[0.0], [3.0], [3.4], [20.0]]])
    expected = [[abs(s - c) <= 2 for s in range(7)] for c in (0, 3, 3.4, 20)]
    assert array(masks.window_mask(positions, centers, 2))[0].tolist() == expected


def test_sliding_window_reaches_less_than_width_on_either_side():
    queries, keys = np.array([[0, 5, 2], [9, 4, -1]]), np.array([[0, 1, 2, 3], [8, 9, 4, -1]])
    window = array(masks.sliding_window_mask(ops.array(queries), ops.array(keys), 2))
    for b, t, s in np.ndindex(2, 3, 4):
        assert window[b, t, s] == (abs(int(queries[b, t]) - int(keys[b, s])) < 2)


def test_causal_sliding_window_contains_width_items():
    positions = ops.expand_dims(ops.arange(5), 0)
    window = masks.sliding_window_mask(positions, positions, 3)
    causal_window = array(masks.combine_masks(window, masks.causal_mask(5, 5)))[0]
    np.testing.assert_array_equal(
        causal_window, np.tri(5, dtype=bool) & ~np.tri(5, k=-3, dtype=bool)
    )
    narrowest = array(masks.sliding_window_mask(positions, positions, 1))[0]
    np.testing.assert_array_equal(narrowest, np.eye(5, dtype=bool))


def test_segment_mask_is_true_within_a_segment():
    queries, keys = np.array([[1, 1, 2], [3, 0, 3]]), np.array([[1, 2, 2, 0], [3, 3, 4, 0]])
    mask = array(masks.segment_mask(ops.array(queries), ops.array(keys)))
    for b, t, s in np.ndindex(2, 3, 4):
        assert mask[b, t, s] == (queries[b, t] == keys[b, s])


def test_segment_positions_start_at_0_in_each_segment():
    segments = np.array([[1, 1, 1, 2, 2, 3], [4, 5, 5, 5, 5, 0]])
    positions = array(masks.segment_positions(ops.array(segments)))
    assert positions.tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 0]]
    assert positions.dtype == "int32"


def test_segment_positions_do_not_count_masked_items():
    segments = np.array([[1, 1, 1, 2, 2, 2], [1, 1, 2, 2, 2, 2]])
    mask = np.array([[0, 1, 1, 1, 0, 1], [1, 0, 0, 0, 1, 1]], bool)
    positions = array(masks.segment_positions(ops.array(segments), ops.array(mask)))
    assert positions[mask].tolist() == [0, 1, 0, 1, 0, 0, 1]


def test_segment_positions_of_one_segment_are_positions_from_mask():
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1]], bool)
    one = np.ones((2, 5), "int32")
    np.testing.assert_array_equal(
        array(masks.segment_positions(ops.array(one), ops.array(mask))),
        array(masks.positions_from_mask(mask)),
    )


def test_first_mask_is_true_at_the_first_unmasked_item():
    mask = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    expected = np.zeros((5, 4), bool)
    expected[[0, 1, 2, 3], [0, 1, 2, 3]] = True
    for each in (mask, mask.astype(bool)):
        np.testing.assert_array_equal(array(masks.first_mask(ops.array(each))), expected)


def test_masks_of_fewer_than_three_axes_get_leading_ones():
    mask = np.array([[True, False], [True, True]])
    for each in (mask[0], mask, mask[:, None], mask[:, None, None]):
        expanded = array(masks.expand_to_3d(ops.array(each)))
        shape = (1,) * (3 - each.ndim) + each.shape
        np.testing.assert_array_equal(expanded, each.reshape(shape))
    assert masks.expand_to_3d(None) is None


def test_a_numeric_mask_becomes_bool():
    for mask in (
        masks.combine_masks(np.array([[2, 0]])),
        masks.expand_key_mask(np.array([[2, 0]])),
    ):
        assert array(mask).dtype == bool and array(mask).ravel().tolist() == [True, False]


def test_mask_value_is_replaced_within_its_scope_only():
    default = masks.mask_value()
    with masks.mask_value_scope(-30.0):
        assert masks.mask_value() == -30.0
        with masks.mask_value_scope(-20.0):
            assert masks.mask_value() == -20.0
        assert masks.mask_value() == -30.0
    assert masks.mask_value() == default == -1e9
