"""Rows of ids: `[END]`, limits of length, and checks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import keras
import numpy as np

from keras_attention.ops.ids import END, UNKNOWN
from keras_attention.types import Tensor
from keras_attention.utils.lazy_tensorflow import tf


def is_text(ids: tf.Tensor) -> tf.Tensor:
    """Returns for ids `(B, T)` whether they are written: before `[END]` and not special."""
    ended = tf.cumsum(tf.cast(ids == END, "int32"), axis=1)  # (B, T)
    return (ended == 0) & (ids >= UNKNOWN)


def as_array(ids: Sequence | Tensor) -> np.ndarray:
    """Returns ids as int64."""
    return np.asarray(keras.ops.convert_to_numpy(ids)).astype("int64")


def append_end(ids: tf.RaggedTensor, max_length: int | None) -> tf.RaggedTensor:
    """Appends `[END]` to each row, truncating it to `max_length` including `[END]`."""
    if max_length is not None:
        _check_max_length(max_length)
        if tf.executing_eagerly():
            _warn_if_longer(ids.row_lengths().numpy(), max_length - 1)
        ids = ids[:, : max_length - 1]
    ends = tf.fill([ids.nrows(), 1], END)  # (B, 1)
    return tf.concat([ids, ends], axis=1)


def append_end_to_lists(rows: list[list[int]], max_length: int | None) -> list[list[int]]:
    """Appends `[END]` to each list, truncating it to `max_length` including `[END]`."""
    if max_length is not None:
        _check_max_length(max_length)
        _warn_if_longer([len(row) for row in rows], max_length - 1)
        rows = [row[: max_length - 1] for row in rows]
    return [[*row, END] for row in rows]


def _check_max_length(max_length: int) -> None:
    if max_length < 1:
        raise ValueError(f"`max_length` must be at least 1. Received: max_length={max_length}")


def check_rank(ids: Tensor) -> None:
    """Raises a `ValueError` unless ids have two axes."""
    if len(ids.shape) != 2:
        raise ValueError(f"`ids` must have shape (batch, time). Received: ids.shape={ids.shape}")


def _warn_if_longer(lengths: Sequence[int], length: int) -> None:
    count = sum(each > length for each in lengths)
    if count:
        warnings.warn(
            f"{count} of {len(lengths)} texts have more than {length} tokens and were truncated.",
            stacklevel=5,
        )
