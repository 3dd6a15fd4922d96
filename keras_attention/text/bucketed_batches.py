"""Pairs of sentences from files, and batches of them for `model.fit`."""

import math
import os
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import zip_longest

import numpy as np
import tensorflow as tf

from keras_attention.ops.ids import PAD, START
from keras_attention.text.files import PathLike, read_lines
from keras_attention.text.tokenizer import Tokenizer

Dataset = tf.data.Dataset
Pair = tuple[str, str]


def read_parallel(source: PathLike, target: PathLike | None = None) -> list[Pair]:
    """Reads sentence pairs from two files aligned by line, or from one with tabs.

    Args:
        source: A UTF-8 text file with one sentence a line; without `target`, a file with
            source, tab, target on each line (further columns are ignored). `.gz` is allowed.
        target: The file of translations, aligned with `source` by line.

    Returns:
        A list of `(source, target)` pairs, one per line.

    Raises:
        ValueError: if the two files differ in their number of lines, a line of the one file has
            no tab, or as `read_lines` does.
    """
    if target is None:
        return [_split_at_tab(source, *line) for line in enumerate(read_lines(source), start=1)]
    pairs = list(zip_longest(read_lines(source), read_lines(target)))
    counts = [sum(pair[side] is not None for pair in pairs) for side in (0, 1)]
    if counts[0] != counts[1]:
        longer = source if counts[0] > counts[1] else target
        raise ValueError(
            "Expected two files of as many lines. Line "
            f"{min(counts) + 1} of {os.fspath(longer)!r} has no partner. Received: {counts[0]} "
            f"lines in {os.fspath(source)!r}, {counts[1]} lines in {os.fspath(target)!r}"
        )
    return pairs


def _split_at_tab(path: PathLike, number: int, line: str) -> Pair:
    columns = line.split("\t")
    if len(columns) < 2:
        raise ValueError(
            f"Expected source, tab, target in {os.fspath(path)!r}, line {number}. "
            f"Received: {line[:80]!r}"
        )
    return columns[0], columns[1]


def batches(
    pairs: Sequence[Pair],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    batch_size: int = 64,
    max_length: int = 128,
    shuffle: bool = True,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> Dataset:
    """Makes batches of encoded pairs, grouped by length.

    A pair goes to the first of the lengths `bucket_lengths(max_length)` that holds both its
    sides, and its batch is padded to that length. Shapes are therefore few, and the same in
    every epoch, which is what XLA wants. Each pair appears once per epoch; the last batch of a
    length may be smaller. Text is tokenized once, here.

    Args:
        pairs: `(source, target)` sentences.
        source_tokenizer: Encodes the source.
        target_tokenizer: Encodes the target.
        batch_size: The most pairs in a batch.
        max_length: The longest row, `[END]` counted; longer sentences are truncated, with a
            warning that counts them.
        shuffle: Whether pairs come in a new order in each epoch. `False` for validation.
        seed: Makes the orders repeatable, together with the seed of `keras.utils.set_random_seed`
            where that is set.
        batch_tokens: The most positions in one side of a batch, padding counted: batches of long
            sentences are smaller. `None` sets no limit.

    Returns:
        A dataset of `({"source": (B, L), "target": (B, L)}, labels (B, L))`, int32, padded
        with 0. `source` is ids and `[END]`, `target` is `[START]` and ids, `labels` is ids and
        `[END]`. Its cardinality is known.

    Raises:
        ValueError: if there are no pairs, or a number is not positive.
    """
    if not len(pairs):
        raise ValueError(f"`pairs` should have at least one pair. Received: {pairs!r}")
    sources, targets = zip(*pairs, strict=True)
    sources = source_tokenizer.encode_ragged(sources, max_length)
    targets = target_tokenizer.encode_ragged(targets, max_length)
    rows = np.maximum(sources.row_lengths().numpy(), targets.row_lengths().numpy())

    def pad(inside, length):
        return _bucket(tf.gather(sources, inside), tf.gather(targets, inside), length)

    return group_by_length(rows, pad, batch_size, max_length, shuffle, seed, batch_tokens)


def repeat_batch(data: Dataset) -> Dataset:
    """Batches that have their rows twice, one half after the other, as `training.RDrop` wants.

    Args:
        data: batches of tensors, or of nested tuples and dictionaries of them, `(B, ...)` each.

    Returns:
        A dataset of the same structure, `(2 * B, ...)` each: all rows, and all rows again.

    >>> data = repeat_batch(Dataset.from_tensor_slices(([1, 2, 3], [4, 5, 6])).batch(2))
    >>> [row.tolist() for row in next(data.as_numpy_iterator())]
    [[1, 2, 1, 2], [4, 5, 4, 5]]
    """
    return data.map(
        lambda *batch: tf.nest.map_structure(lambda rows: tf.concat([rows, rows], axis=0), batch)
    )


def group_by_length(
    rows: np.ndarray,
    pad: Callable,
    batch_size: int,
    max_length: int,
    shuffle: bool,
    seed: int,
    batch_tokens: int | None,
) -> Dataset:
    """What `batches` says of lengths and orders, for examples of any make.

    Args:
        rows: The length of each example, (N,).
        pad: `pad(places, length)` gives the examples of these places, padded to this length, as a
            tuple of tensors or dictionaries of them, `(len(places), ...)` each.
        batch_size: As for `batches`, and so the rest.
        max_length: The longest length.
        shuffle: Whether there are orders.
        seed: Of the orders.
        batch_tokens: The most positions in a batch.

    Raises:
        ValueError: if a number is not positive.
    """
    lengths = bucket_lengths(max_length)
    buckets = [
        batches_of(pad(inside, length), size, seed + lengths.index(length) if shuffle else None)
        for inside, length, size in by_length(rows, batch_size, max_length, batch_tokens)
    ]
    dataset = _interleave(buckets, seed) if shuffle else reduce(Dataset.concatenate, buckets)
    steps = sum(len(bucket) for bucket in buckets)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def by_length(
    rows: np.ndarray, batch_size: int, max_length: int, batch_tokens: int | None
) -> list[tuple[np.ndarray, int, int]]:
    """Which examples go together, as `batches` says.

    Args:
        rows: The length of each example, (N,).
        batch_size: As for `batches`, and so the rest.
        max_length: The longest length.
        batch_tokens: The most positions in a batch.

    Returns:
        For each of `bucket_lengths` that has examples: their places, that length, and the most of
        them in a batch.

    Raises:
        ValueError: if a number is not positive.

    >>> by_length(np.array([3, 9, 8]), batch_size=4, max_length=16, batch_tokens=24)
    [(array([0, 2]), 8, 3), (array([1]), 12, 2)]
    """
    if min(batch_size, max_length, batch_tokens or 1) < 1:
        raise ValueError(
            "`batch_size`, `max_length` and `batch_tokens` should be at least 1. "
            f"Received: {batch_size}, {max_length}, {batch_tokens}"
        )
    lengths = bucket_lengths(max_length)
    places = np.searchsorted(lengths, rows)  # (N,)
    return [
        (
            np.flatnonzero(places == place),
            lengths[place],
            min(batch_size, max(1, (batch_tokens or 2**31) // lengths[place])),
        )
        for place in np.unique(places)
    ]


def bucket_lengths(max_length: int) -> list[int]:
    """The lengths that `batches` pads to: multiples of 4, each about a quarter above the last.

    >>> bucket_lengths(60)
    [8, 12, 16, 20, 28, 36, 48, 60]
    """
    lengths, length = [], 8
    while length < max_length:
        lengths.append(length)
        length = 4 * math.ceil(length * 1.25 / 4)
    return [*lengths, max_length]


def _bucket(sources: tf.RaggedTensor, targets: tf.RaggedTensor, length: int) -> tuple:
    """Pads pairs of about one length."""
    source = sources.to_tensor(PAD, shape=[None, length])  # (N, L)
    labels = targets.to_tensor(PAD, shape=[None, length])  # (N, L)
    return {"source": source, "target": decoder_input(labels)}, labels


def decoder_input(labels: tf.Tensor) -> tf.Tensor:
    """What the decoder reads to say these labels (N, L): START and all but the last of them."""
    starts = tf.fill([tf.shape(labels)[0], 1], START)  # (N, 1)
    shifted = tf.concat([starts, labels[:, :-1]], axis=1)  # (N, L)
    return tf.where(labels == PAD, PAD, shifted)


def batches_of(data: tuple, size: int, seed: int | None) -> Dataset:
    """Batches of examples `(N, ...)`, in new orders if there is a seed."""
    count = len(data[1])
    index = Dataset.range(count)
    if seed is not None:
        index = index.shuffle(count, seed=seed, reshuffle_each_iteration=True)
    # Gathering a batch at once is many times faster than batching rows.
    return index.batch(size).map(
        lambda rows: tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), data)
    )


def _interleave(buckets: list[Dataset], seed: int) -> Dataset:
    """Takes the next batch from any bucket, at random, until all are empty."""
    steps = np.array([len(bucket) for bucket in buckets])
    return Dataset.sample_from_datasets(
        buckets, weights=steps / steps.sum(), seed=seed, rerandomize_each_iteration=True
    )
