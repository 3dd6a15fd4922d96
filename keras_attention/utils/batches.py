"""Batches for `model.fit` whose order depends on nothing but the seed and the epoch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np


class ShuffledBatches(keras.utils.PyDataset):
    """Batches of arrays in an order that is a function of a seed and the epoch.

    Batch `index` of epoch `epoch` has the same contents in each process, however many epochs were
    read before. A resumed training therefore reads what an uninterrupted one reads. `fit` does not
    tell its data the number of the epoch: without the callback `training.SetEpoch`, epochs are
    counted from the first one that is read, also if `initial_epoch` is not 0. Pass `shuffle=False`
    to `fit`, which otherwise shuffles the batches again, by Python's `random`.

    The second batch has other shapes than the first one wherever shapes vary, because on TensorFlow
    Keras infers from these two which dimensions vary.

    Args:
        groups: Pairs `(examples, size)`: arrays `(N, ...)`, or nested tuples and dictionaries of
            them, and the maximum number of examples in a batch. A batch has examples of one group;
            the last one of a group may be smaller.
        shuffle: Whether each epoch has a new order. Use `False` for validation.
        seed: Seed of the order.
        **kwargs: Arguments of `keras.utils.PyDataset`, such as `workers`.

    Example:

    >>> batches = ShuffledBatches([(np.arange(4), 2), (np.arange(10, 13), 2)], shuffle=False)
    >>> [batch.tolist() for batch in batches]
    [[0, 1], [10, 11], [2, 3], [12]]
    >>> batches = ShuffledBatches([(np.arange(8), 4)], seed=1)
    >>> batches.epoch = 5
    >>> [batch.tolist() for batch in batches]
    [[5, 4, 6, 3], [1, 2, 0, 7]]
    """

    def __init__(
        self,
        groups: Sequence[tuple[Any, int]],
        shuffle: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.groups = [(keras.tree.map_structure(np.asarray, each), size) for each, size in groups]
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self._transform: Callable[[Any], Any] = lambda batch: batch
        self._order: tuple[int | None, list[tuple[int, np.ndarray]]] = None, []

    def map(self, function: Callable[[Any], Any]) -> ShuffledBatches:
        """Returns these batches, each passed through a function."""
        mapped, transform = copy.copy(self), self._transform
        mapped._transform = lambda batch: function(transform(batch))
        return mapped

    def shard(self, num_shards: int, index: int | None = None) -> ShuffledBatches:
        """Returns these batches for several devices or processes, which divide them evenly.

        Each batch is filled with rows of zeros up to a multiple of `num_shards`. They are padding,
        so `training.MaskedCrossEntropy`, `TokenAccuracy` and `Perplexity` do not count them. A loss
        of another kind counts them.

        Args:
            num_shards: number of devices or processes.
            index: the part of each batch that this process reads, from 0 to `num_shards - 1`, with
                `auto_shard_dataset=False` of the distribution; `None` for all rows.

        Raises:
            ValueError: If there is no such part.

        Example:

        >>> batches = ShuffledBatches([(np.arange(1, 6), 5)], shuffle=False)
        >>> batches.shard(2)[0].tolist(), batches.shard(2, index=1)[0].tolist()
        ([1, 2, 3, 4, 5, 0], [4, 5, 0])
        """
        if num_shards < 1 or (index is not None and not 0 <= index < num_shards):
            raise ValueError(
                "`num_shards` must be positive, and `index` from 0 to `num_shards` - 1. "
                f"Received: num_shards={num_shards}, index={index}"
            )

        def shard_array(array):
            size = -(-len(array) // num_shards)  # rows of each part
            padded = np.zeros_like(array, shape=(size * num_shards, *array.shape[1:]))
            padded[: len(array)] = array
            return padded if index is None else padded[index * size : (index + 1) * size]

        return self.map(lambda batch: keras.tree.map_structure(shard_array, batch))

    def __len__(self) -> int:
        return sum(-(-_num_examples(examples) // size) for examples, size in self.groups)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be from 0 to {len(self) - 1}. Received: index={index}")
        group, rows = self._epoch_order(self.epoch)[index]
        examples, _ = self.groups[group]
        return self._transform(keras.tree.map_structure(lambda array: array[rows], examples))

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def _epoch_order(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """Returns the group and the rows of each batch of an epoch."""
        ordered_epoch, order = self._order
        if ordered_epoch != epoch:
            order = self._make_order(epoch)
            self._order = epoch, order  # at once, since Keras reads batches in several threads
        return order

    def _make_order(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        rng = np.random.default_rng((self.seed, epoch))
        batches = []
        for group, (examples, size) in enumerate(self.groups):
            count = _num_examples(examples)
            rows = rng.permutation(count) if self.shuffle else np.arange(count)
            batches += [(group, rows[start : start + size]) for start in range(0, count, size)]
        if self.shuffle:
            batches = [batches[index] for index in rng.permutation(len(batches))]
        others = [index for index, (group, _) in enumerate(batches) if group != batches[0][0]]
        if others:
            batches.insert(1, batches.pop(others[0]))
        return batches


def _num_examples(examples: Any) -> int:
    return len(keras.tree.flatten(examples)[0])
