"""Tests of packed batches: contents, labels, padding, order and errors."""

import numpy as np
import pytest

from keras_attention.ops.ids import END, START
from keras_attention.text import CharacterTokenizer, packed_batches, packed_pair_batches
from keras_attention.text.packed import pack

TOKENIZER = CharacterTokenizer.train(["abcdefghij"])  # id of "a" is 4, of "b" 5, ...


def some_texts(count=200, longest=12, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefghij"), n)) for n in rng.integers(0, longest, count)]


def rows_of(dataset):
    ids, labels = zip(*dataset, strict=True)
    return np.concatenate(ids), np.concatenate(labels)


def test_row_and_labels():
    ids, labels = rows_of(packed_batches(["ab", "cde", ""], TOKENIZER, length=12))
    assert ids.dtype == labels.dtype == "int32"
    assert ids.tolist() == [[1, 6, 7, 8, 2, 1, 4, 5, 2, 1, 2, 0]]
    assert labels.tolist() == [[6, 7, 8, 2, 0, 4, 5, 2, 0, 2, 0, 0]]


def test_text_that_fills_a_row():
    ids, labels = rows_of(packed_batches(["abc", "de"], TOKENIZER, length=5, shuffle=False))
    assert ids.tolist() == [[1, 4, 5, 6, 2], [1, 7, 8, 2, 0]]
    assert labels.tolist() == [[4, 5, 6, 2, 0], [7, 8, 2, 0, 0]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_text_appears_once_and_unbroken(shuffle):
    texts = some_texts()
    data = packed_batches(texts, TOKENIZER, length=20, batch_size=8, shuffle=shuffle)
    for data.epoch in range(2):
        ids, labels = rows_of(data)
        starts = np.argwhere(ids == START)
        texts_in_rows = []
        for row, start in starts:
            end = start + int((ids[row, start:] == END).argmax())
            inside = ids[row, start : end + 1]
            assert inside[-1] == END and (inside[1:] != START).all()
            assert labels[row, start : end + 1].tolist() == [*inside[1:], 0]
            texts_in_rows.append(inside.tolist())
        expected = [[START, *row] for row in TOKENIZER.encode_ragged(texts).to_list()]
        assert sorted(texts_in_rows) == sorted(expected)
        assert (ids > 0).sum() == sum(map(len, expected))  # nothing stands between


def test_little_padding():
    ids, _ = rows_of(packed_batches(some_texts(1000), TOKENIZER, length=40))
    assert ids.shape[1] == 40
    fewest = -(-(ids > 0).sum() // 40)
    assert fewest <= len(ids) <= fewest + 1


def test_order_changes_per_epoch_and_is_reproducible():
    options = {"length": 16, "batch_size": 4}
    data, repeated, other = (
        packed_batches(some_texts(), TOKENIZER, seed=seed, **options) for seed in (1, 1, 2)
    )
    first = rows_of(data)[0]
    data.epoch = 1
    again = rows_of(data)[0]
    assert (first != again).any() and sorted(first.tolist()) == sorted(again.tolist())
    np.testing.assert_array_equal(rows_of(repeated)[0], first)
    assert (rows_of(other)[0] != first).any()
    still = packed_batches(some_texts(), TOKENIZER, shuffle=False, **options)
    np.testing.assert_array_equal(rows_of(still)[0], rows_of(still)[0])


def test_cardinality_and_shapes():
    data = packed_batches(["abcdefg"] * 11, TOKENIZER, length=9, batch_size=4)
    assert len(data) == 3
    assert sorted(ids.shape for ids, _ in data) == [(3, 9), (4, 9), (4, 9)]


def test_longer_texts_are_truncated_with_a_warning():
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
        ([], {}, r"`texts` must be a non-empty list .*Received: texts=\[\]"),
        ("abc", {}, "`texts` must be a list .*Received: texts='abc'"),
        (["a"], {"length": 2}, "`length` must be at least 3 .*Received: length=2, batch_size=32"),
        (["a"], {"batch_size": 0}, "`batch_size` at least 1. Received: length=128, batch_size=0"),
    ],
)
def test_invalid_arguments(texts, options, message):
    with pytest.raises(ValueError, match=message):
        packed_batches(texts, TOKENIZER, **options)


def test_row_of_pairs():
    pairs = [("ab", "c"), ("cde", "fg"), ("", "")]
    ((inputs, labels),) = packed_pair_batches(pairs, TOKENIZER, TOKENIZER, length=9)
    assert inputs["source"].dtype == inputs["target"].dtype == labels.dtype == "int32"
    assert inputs["source"].tolist() == [[6, 7, 8, 2, 4, 5, 2, 2, 0]]
    assert inputs["target"].tolist() == [[1, 9, 10, 1, 6, 1, 0, 0, 0]]
    assert labels.tolist() == [[9, 10, 2, 6, 2, 2, 0, 0, 0]]


def test_each_pair_appears_once():
    texts = some_texts(300)
    pairs = [*zip(texts, reversed(texts), strict=True)]
    data = packed_pair_batches(pairs, TOKENIZER, TOKENIZER, length=40, batch_size=8)
    pairs_in_rows = []
    for inputs, labels in data:
        for row in zip(inputs["source"], inputs["target"], labels, strict=True):
            source, target, label = (ids[ids > 0].tolist() for ids in row)
            starts = [i for i, id in enumerate(target) if id == START]
            ends = [i + 1 for i, id in enumerate(source) if id == END]
            for n, (low, high) in enumerate(zip([0, *ends], ends, strict=False)):
                part = slice(starts[n], [*starts, len(target)][n + 1])
                assert target[part] == [START, *label[part][:-1]] and label[part][-1] == END
                pairs_in_rows.append((source[low:high], label[part]))
    encoded = TOKENIZER.encode_ragged(texts).to_list()
    assert sorted(pairs_in_rows) == sorted(zip(encoded, reversed(encoded), strict=True))


def test_pairs_leave_little_padding():
    """Rows must hold both sides, so pairs of one long and one short text fill rows together."""
    sizes = np.array([[9, 1], [1, 9]] * 50)
    assert sorted(map(sorted, pack(sizes, 10))) == [[i, i + 1] for i in range(0, 100, 2)]


@pytest.mark.parametrize("options", [{"length": 0}, {"batch_size": 0}])
def test_invalid_options_for_pairs(options):
    with pytest.raises(ValueError, match="must be at least 1. Received: length="):
        packed_pair_batches([("a", "b")], TOKENIZER, TOKENIZER, **options)
    with pytest.raises(ValueError, match="`pairs`"):
        packed_pair_batches([], TOKENIZER, TOKENIZER)
