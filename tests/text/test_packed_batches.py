"""Texts in rows of one length: each once and whole, labels of its own, little padding."""

import numpy as np
import pytest

from keras_attention.ops.ids import END, START
from keras_attention.text import CharacterTokenizer, packed_batches

TOKENIZER = CharacterTokenizer.train(["abcdefghij"])  # id of "a" is 4, of "b" 5, ...


def some_texts(count=200, longest=12, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefghij"), n)) for n in rng.integers(0, longest, count)]


def rows_of(dataset):
    ids, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(ids), np.concatenate(labels)


def test_a_row_and_its_labels():
    ids, labels = rows_of(packed_batches(["ab", "cde", ""], TOKENIZER, length=12))
    assert ids.dtype == labels.dtype == "int32"
    assert ids.tolist() == [[1, 6, 7, 8, 2, 1, 4, 5, 2, 1, 2, 0]]
    assert labels.tolist() == [[6, 7, 8, 2, 0, 4, 5, 2, 0, 2, 0, 0]]


def test_a_text_that_fills_a_row():
    ids, labels = rows_of(packed_batches(["abc", "de"], TOKENIZER, length=5, shuffle=False))
    assert ids.tolist() == [[1, 4, 5, 6, 2], [1, 7, 8, 2, 0]]
    assert labels.tolist() == [[4, 5, 6, 2, 0], [7, 8, 2, 0, 0]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_text_is_there_once_and_whole(shuffle):
    texts = some_texts()
    data = packed_batches(texts, TOKENIZER, length=20, batch_size=8, shuffle=shuffle)
    for _ in range(2):
        ids, labels = rows_of(data)
        starts = np.argwhere(ids == START)
        found = []
        for row, start in starts:
            end = start + int((ids[row, start:] == END).argmax())
            inside = ids[row, start : end + 1]
            assert inside[-1] == END and (inside[1:] != START).all()
            assert labels[row, start : end + 1].tolist() == [*inside[1:], 0]
            found.append(inside.tolist())
        expected = [[START, *row] for row in TOKENIZER.encode_ragged(texts).to_list()]
        assert sorted(found) == sorted(expected)
        assert (ids > 0).sum() == sum(map(len, expected))  # nothing stands between


def test_hardly_a_place_is_padding():
    ids, _ = rows_of(packed_batches(some_texts(1000), TOKENIZER, length=40))
    assert ids.shape[1] == 40
    fewest = -(-(ids > 0).sum() // 40)
    assert fewest <= len(ids) <= fewest + 1


def test_orders_are_new_in_each_epoch_and_repeatable():
    options = {"length": 16, "batch_size": 4}
    data, same, other = (
        packed_batches(some_texts(), TOKENIZER, seed=seed, **options) for seed in (1, 1, 2)
    )
    first, again = rows_of(data)[0], rows_of(data)[0]
    assert (first != again).any() and sorted(first.tolist()) == sorted(again.tolist())
    np.testing.assert_array_equal(rows_of(same)[0], first)
    assert (rows_of(other)[0] != first).any()
    still = packed_batches(some_texts(), TOKENIZER, shuffle=False, **options)
    np.testing.assert_array_equal(rows_of(still)[0], rows_of(still)[0])


def test_cardinality_and_shapes():
    data = packed_batches(["abcdefg"] * 11, TOKENIZER, length=9, batch_size=4)
    assert len(data) == 3
    assert [ids.shape for ids, _ in data] == [(4, 9), (4, 9), (3, 9)]


def test_longer_texts_are_cut_with_a_warning_that_counts():
    texts = ["abcdef", "ab", "abcdefg"]
    with pytest.warns(UserWarning, match=r"2 of 3 texts have more than 6 tokens, \[START\]"):
        data = packed_batches(texts, TOKENIZER, length=6, shuffle=False)
    ids, labels = rows_of(data)
    cut = [1, 4, 5, 6, 7, 8]  # no END: it does not end there
    assert ids.tolist() == [cut, cut, [1, 4, 5, 2, 0, 0]]
    assert labels[0].tolist() == [4, 5, 6, 7, 8, 0]


@pytest.mark.parametrize(
    "texts, options, message",
    [
        ([], {}, r"`texts` should be a list .*Received: \[\]"),
        ("abc", {}, "`texts` should be a list .*Received: 'abc'"),
        (["a"], {"length": 2}, "`length` should be at least 3 .*Received: 2, 32"),
        (["a"], {"batch_size": 0}, "`batch_size` at least 1. Received: 128, 0"),
    ],
)
def test_what_cannot_be_packed(texts, options, message):
    with pytest.raises(ValueError, match=message):
        packed_batches(texts, TOKENIZER, **options)
