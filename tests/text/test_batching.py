"""Tests of the batches of pairs: contents, shapes, order and errors."""

import gzip
from collections import Counter

import keras
import numpy as np
import pytest

from keras_attention.text import CharacterTokenizer, bucket_lengths, bucketed_batches, read_parallel
from keras_attention.training import SetEpoch

TOKENIZER = CharacterTokenizer.train(["abcdefghij"])  # id of "a" is 4, of "b" 5, ...


def some_pairs(count=50, longest=30, seed=0):
    rng = np.random.default_rng(seed)
    word = lambda: "".join(rng.choice(list("abcdefghij"), rng.integers(0, longest)))  # noqa: E731
    return [(word(), word()) for _ in range(count)]


def decoded(dataset):
    """All pairs of an epoch, in order."""
    pairs = []
    for inputs, labels in dataset:
        sides = TOKENIZER.detokenize(inputs["source"]), TOKENIZER.detokenize(labels)
        pairs += zip(*(side.numpy().tolist() for side in sides), strict=True)
    return [(source.decode(), target.decode()) for source, target in pairs]


def make(pairs, **options):
    return bucketed_batches(
        pairs, TOKENIZER, TOKENIZER, **{"batch_size": 8, "max_length": 40, **options}
    )


def test_two_files(tmp_path):
    (tmp_path / "a.de").write_text("eins\n\ndrei\n", encoding="utf-8")
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"one\r\ntwo\r\nthree"))
    pairs = read_parallel(tmp_path / "a.de", str(tmp_path / "a.en.gz"))
    assert pairs == [("eins", "one"), ("", "two"), ("drei", "three")]


def test_tab_separated_file(tmp_path):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(b"go\tgeh\tCC-BY\nhi\t\n"))
    assert read_parallel(path) == [("go", "geh"), ("hi", "")]
    path = tmp_path / "b.tsv"
    path.write_text("go\tgeh\nno tab\n")
    with pytest.raises(ValueError, match=r"b\.tsv' must be .*Received: line 2: 'no tab'"):
        read_parallel(path)


def test_unequal_files(tmp_path):
    (tmp_path / "long").write_text("1\n2\n3\n")
    (tmp_path / "short").write_text("1\n2\n")
    where = "must have the same number of lines. Received: "
    with pytest.raises(ValueError, match=where + "3 lines in '.*long', 2 lines in '.*short'"):
        read_parallel(tmp_path / "long", tmp_path / "short")
    with pytest.raises(ValueError, match=where + "2 lines in '.*short', 3 lines in '.*long'"):
        read_parallel(tmp_path / "short", tmp_path / "long")


def test_invalid_utf8(tmp_path):
    (tmp_path / "a").write_bytes(b"a\nb\n")
    (tmp_path / "b").write_bytes(b"a\n\xff\n")
    with pytest.raises(ValueError, match="b' must be UTF-8. Received: line 2"):
        read_parallel(tmp_path / "a", tmp_path / "b")


def test_contents_of_a_batch():
    ((inputs, labels),) = make([("ab", "c"), ("", "de")], shuffle=False)
    assert {key: value.dtype for key, value in inputs.items()} == dict.fromkeys(
        ("source", "target"), "int32"
    )
    assert inputs["source"].tolist() == [[4, 5, 2, 0, 0, 0, 0, 0], [2] + [0] * 7]
    assert inputs["target"].tolist() == [[1, 6] + [0] * 6, [1, 7, 8] + [0] * 5]
    assert labels.tolist() == [[6, 2] + [0] * 6, [7, 8, 2] + [0] * 5]


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_pair_once_per_epoch(shuffle):
    pairs = some_pairs()
    dataset = make(pairs, shuffle=shuffle)
    first = decoded(dataset)
    dataset.epoch = 1
    second = decoded(dataset)
    assert Counter(first) == Counter(second) == Counter(pairs)
    assert (first != second) == shuffle


def test_shapes():
    dataset = make(some_pairs(200), batch_size=16)
    epochs = [Counter(tuple(labels.shape) for _, labels in dataset) for _ in range(2)]
    assert epochs[0] == epochs[1]
    assert sum(epochs[0].values()) == len(dataset)
    lengths = [8, 12, 16, 20, 28, 36]  # few pairs have at most 12 tokens, fewer than a batch
    assert {length for _, length in epochs[0]} == {*lengths} - {12}
    # the other 8 of 200 rows are one batch, of the greatest length
    assert {shape: n for shape, n in epochs[0].items() if shape[0] != 16} == {(8, 36): 1}
    shorter = Counter()  # rows that fit a smaller length
    for inputs, labels in dataset:
        assert inputs["source"].shape == inputs["target"].shape == labels.shape
        longest = np.maximum((inputs["source"] != 0).sum(1), (labels != 0).sum(1))
        length = labels.shape[1]
        shorter[length] += sum(longest <= ([0, *lengths])[lengths.index(length)])
    assert 0 < max(shorter.values()) < 16  # those that did not fill a batch


def test_order_is_a_function_of_seed_epoch_and_position():
    """An epoch has the same order whatever was read before, in this process or another one."""
    pairs = some_pairs()
    dataset, again, other = make(pairs), make(pairs), make(pairs, seed=1)
    for each in (again, other):
        each.epoch = 3
    keras.utils.set_random_seed(5)
    orders = []
    for epoch in range(4):
        dataset.epoch = epoch
        orders.append(decoded(dataset))
    assert len({tuple(order) for order in orders}) == 4
    assert decoded(again) == orders[3] != decoded(other)
    dataset.epoch = 1
    assert decoded(dataset) == orders[1]
    last = again[len(again) - 1]  # the last batch, without the others
    np.testing.assert_array_equal(last[1], list(again)[-1][1])


@pytest.mark.parametrize("first_epoch", [0, 2])
def test_fit_reads_the_order_of_its_epoch(first_epoch):
    """Keras reads batches before the first epoch, and opens two iterators for each epoch."""
    dataset = make(some_pairs(20), batch_size=4)
    source, target = (keras.Input((None,), dtype="int32", name=n) for n in ("source", "target"))
    embedded = keras.layers.Embedding(14, 1)(source)
    model = keras.Model({"source": source, "target": target}, keras.layers.Dense(14)(embedded))
    batches = []
    step = model.train_step

    def train_step(data):
        batches.append(data[1].numpy().tolist())
        return step(data)

    model.train_step = train_step
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, run_eagerly=True)
    options = {"initial_epoch": first_epoch, "epochs": first_epoch + 2, "verbose": 0}
    model.fit(dataset, shuffle=False, callbacks=[SetEpoch(dataset)], **options)
    expected = []
    for epoch in range(first_epoch, first_epoch + 2):
        dataset.epoch = epoch
        expected += [labels.tolist() for _, labels in dataset]
    assert batches == expected


def test_truncation_warns_once():
    pairs = [("a" * 20, "b"), ("a" * 19, "b" * 20), ("a", "b")]
    with pytest.warns(UserWarning) as warnings:
        dataset = make(pairs, max_length=20, shuffle=False)
        got = decoded(dataset)
    assert [str(warning.message)[:6] for warning in warnings] == ["1 of 3"] * 2
    assert sorted(got) == sorted([("a" * 19, "b"), ("a" * 19, "b" * 19), ("a", "b")])


def test_batch_tokens():
    pairs = [("a" * 5, "b")] * 10 + [("a" * 19, "b")] * 10
    sizes = Counter(tuple(labels.shape) for _, labels in make(pairs, batch_tokens=48))
    assert sizes == {(6, 8): 1, (2, 20): 7}  # 4 of 10 short pairs do not fill a batch
    assert {labels.shape[0] for _, labels in make(pairs, batch_tokens=1)} == {1}


def test_bucket_lengths():
    assert bucket_lengths(1) == [1]
    assert bucket_lengths(8) == [8]
    assert bucket_lengths(128) == [8, 12, 16, 20, 28, 36, 48, 60, 76, 96, 120, 128]


def test_errors():
    with pytest.raises(ValueError, match=r"at least one pair. Received: pairs=\[\]"):
        make([])
    for wrong in ({"batch_size": 0}, {"max_length": 0}, {"batch_tokens": -1}):
        with pytest.raises(ValueError, match="at least 1. Received"):
            make([("a", "b")], **wrong)


def test_model_fit_accepts_the_batches():
    source, target = (keras.Input((None,), dtype="int32", name=n) for n in ("source", "target"))
    embedded = keras.layers.Embedding(14, 4)(target) + keras.layers.Embedding(14, 4)(source)
    model = keras.Model({"source": source, "target": target}, keras.layers.Dense(14)(embedded))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(make(some_pairs(20)), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
