"""Batches that devices and processes divide evenly."""

import numpy as np
import pytest

from keras_attention.training import MaskedCrossEntropy, ShuffledBatches


def make_batches(size=4):
    ids = np.arange(1, 23).reshape(11, 2)
    inputs = {"source": ids, "target": ids + 100}
    return ShuffledBatches([((inputs, ids % 5 + 1, np.ones(11)), size)], seed=1)


def test_parts_of_all_processes_are_the_batch():
    whole, sharded = make_batches(), make_batches().shard(3)
    parts = [make_batches().shard(3, index) for index in range(3)]
    for index, (inputs, labels, weights) in enumerate(whole):
        rows = len(labels)
        assert len(sharded[index][1]) == -(-rows // 3) * 3
        joined = np.concatenate([part[index][0]["source"] for part in parts])
        np.testing.assert_array_equal(joined, sharded[index][0]["source"])
        np.testing.assert_array_equal(joined[:rows], inputs["source"])
        assert not joined[rows:].any()
        joined = np.concatenate([part[index][2] for part in parts])
        np.testing.assert_array_equal(joined, [*weights, *np.zeros(len(joined) - rows)])


def test_padding_rows_do_not_change_the_loss():
    logits = np.random.default_rng(0).normal(size=(6, 2, 8))
    (_, labels, weights), (_, padded, padded_weights) = (
        make_batches()[0],
        make_batches().shard(3)[0],
    )
    loss = MaskedCrossEntropy(label_smoothing=0.1)
    expected = float(loss(labels, logits[: len(labels)], weights))
    assert float(loss(padded, logits, padded_weights)) == pytest.approx(expected, rel=1e-6)


def test_a_batch_may_have_fewer_rows_than_processes():
    parts = [make_batches(size=1).shard(4, index)[0] for index in range(4)]
    assert [len(part[1]) for part in parts] == [1] * 4
    assert [part[1].any() for part in parts] == [True, False, False, False]


@pytest.mark.parametrize("num_shards, index", [(0, None), (2, 2), (2, -1)])
def test_unknown_parts_are_refused(num_shards, index):
    with pytest.raises(ValueError, match="`index` from 0 to `num_shards` - 1. Received"):
        make_batches().shard(num_shards, index)
