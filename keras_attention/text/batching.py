"""Batches of sentence pairs grouped by length, for `model.fit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_attention.ops.ids import PAD, START
from keras_attention.text.files import Pair
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.batches import ShuffledBatches
from keras_attention.utils.lazy_tensorflow import tf
from keras_attention.utils.validation import check_pairs


def bucketed_batches(
    pairs: Sequence[Pair],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    batch_size: int = 64,
    max_length: int = 128,
    shuffle: bool = True,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> ShuffledBatches:
    """Returns batches of encoded sentence pairs, grouped by length.

    Each pair is assigned to the smallest of `bucket_lengths(max_length)` that holds both its
    sides, and its batch is padded to that length. The longest pairs of a length, as many as do not
    fill a batch, join those of the next length, so one batch per epoch is smaller at most. There
    are therefore few shapes, the same in every epoch, which keeps XLA's compilations few. Each pair
    appears once per epoch. Text is tokenized once, by this function.

    Args:
        pairs: `(source, target)` sentences.
        source_tokenizer: Tokenizer of the source.
        target_tokenizer: Tokenizer of the target.
        batch_size: Maximum number of pairs in a batch.
        max_length: Maximum number of tokens, including `[END]`; longer sentences are truncated,
            with a warning that gives their number.
        shuffle: Whether to shuffle the pairs in each epoch. Use `False` for validation.
        seed: Random seed of the order.
        batch_tokens: Maximum number of positions in one side of a batch, including padding, so that
            batches of long sentences are smaller. `None` sets no limit.

    Returns:
        `ShuffledBatches` with elements `({"source": (B, L), "target": (B, L)}, labels (B, L))`,
        int32, padded with 0. `source` and `labels` are ids and `[END]`, `target` is `[START]` and
        ids.

    Raises:
        ValueError: If there are no pairs, or a number is not positive.
    """
    check_pairs("pairs", pairs)
    sources, targets = zip(*pairs, strict=True)
    sources = source_tokenizer.encode_ragged(sources, max_length)
    targets = target_tokenizer.encode_ragged(targets, max_length)
    lengths = np.maximum(sources.row_lengths().numpy(), targets.row_lengths().numpy())

    def pad(indices: np.ndarray, length: int) -> tuple:
        return _pad_pairs(tf.gather(sources, indices), tf.gather(targets, indices), length)

    buckets = assign_buckets(lengths, batch_size, max_length, batch_tokens)
    return ShuffledBatches(pad_buckets(buckets, pad), shuffle, seed)


def repeat_batch(data: ShuffledBatches) -> ShuffledBatches:
    """Concatenates each batch with itself, as `training.RDrop` requires.

    Args:
        data: Batches of arrays `(B, ...)`, or of nested tuples and dictionaries of them.

    Returns:
        Batches of the same structure with arrays `(2 * B, ...)`: all rows, then all rows again.

    Example:

    >>> from keras_attention.training import ShuffledBatches
    >>> data = ShuffledBatches([((np.array([1, 2, 3]), np.array([4, 5, 6])), 2)], shuffle=False)
    >>> [rows.tolist() for rows in repeat_batch(data)[0]]
    [[1, 2, 1, 2], [4, 5, 4, 5]]
    """
    return data.map(
        lambda batch: keras.tree.map_structure(lambda rows: np.concatenate([rows, rows]), batch)
    )


def assign_buckets(
    lengths: np.ndarray, batch_size: int, max_length: int, batch_tokens: int | None
) -> list[tuple[np.ndarray, int, int]]:
    """Assigns examples to the lengths that their batches are padded to.

    Each length has full batches, but for the greatest, which may have one that is not.

    Args:
        lengths: Length of each example, `(N,)`.
        batch_size: Maximum number of examples in a batch.
        max_length: Maximum length of an example.
        batch_tokens: Maximum number of positions in a batch, or `None`.

    Returns:
        List of `(indices, length, size)`, one for each of `bucket_lengths` that has examples: the
        indices of its examples, the padded length, and the number of examples in a batch.

    Raises:
        ValueError: If a number is not positive.

    Example:

    >>> assign_buckets(np.array([3, 9, 8, 2, 7]), batch_size=3, max_length=16, batch_tokens=24)
    [(array([0, 3, 4]), 8, 3), (array([1, 2]), 12, 2)]
    """
    if min(batch_size, max_length, batch_tokens or 1) < 1:
        raise ValueError(
            "`batch_size`, `max_length` and `batch_tokens` must be at least 1. Received: "
            f"batch_size={batch_size}, max_length={max_length}, batch_tokens={batch_tokens}"
        )
    padded = np.array(bucket_lengths(max_length))
    assigned = padded[np.searchsorted(padded, lengths)]  # (N,)
    buckets, left = [], np.array([], int)  # indices of the examples that filled no batch yet
    for length in np.unique(assigned).tolist():
        size = min(batch_size, max(1, (batch_tokens or 2**31) // length))
        indices = np.concatenate([left, np.flatnonzero(assigned == length)])
        indices = indices[np.argsort(lengths[indices], kind="stable")]
        is_last = length == assigned.max()
        full = len(indices) if is_last else len(indices) - len(indices) % size
        indices, left = np.sort(indices[:full]), indices[full:]
        if full:
            buckets.append((indices, length, size))
    return buckets


def pad_buckets(
    buckets: Sequence[tuple[np.ndarray, int, int]], pad: Callable[[np.ndarray, int], tuple]
) -> list[tuple[tuple, int]]:
    """Pads the examples of each bucket, for `ShuffledBatches`.

    Args:
        buckets: From `assign_buckets`.
        pad: `pad(indices, length)` returns the examples of these indices padded to this length, as
            a tuple of arrays, or of dictionaries of arrays, `(len(indices), ...)`.

    Returns:
        Pairs of the padded examples and the maximum number of examples in a batch.
    """
    return [(pad(indices, length), size) for indices, length, size in buckets]


def bucket_lengths(max_length: int) -> list[int]:
    """Returns the padded lengths: multiples of 4, each about 25 percent above the previous.

    Example:

    >>> bucket_lengths(60)
    [8, 12, 16, 20, 28, 36, 48, 60]
    """
    lengths, length = [], 8
    while length < max_length:
        lengths.append(length)
        length = 4 * math.ceil(length * 1.25 / 4)
    return [*lengths, max_length]


def _pad_pairs(sources: tf.RaggedTensor, targets: tf.RaggedTensor, length: int) -> tuple:
    source = sources.to_tensor(PAD, shape=[None, length])  # (N, L)
    labels = targets.to_tensor(PAD, shape=[None, length])  # (N, L)
    return {"source": source, "target": decoder_inputs(labels)}, labels


def decoder_inputs(labels: tf.Tensor) -> tf.Tensor:
    """Returns the decoder's input ids for labels (N, L): START and all labels but the last."""
    starts = tf.fill([tf.shape(labels)[0], 1], START)  # (N, 1)
    shifted = tf.concat([starts, labels[:, :-1]], axis=1)  # (N, L)
    return tf.where(labels == PAD, PAD, shifted)
