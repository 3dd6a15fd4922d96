"""Texts one after the other in rows of one length, for language models."""

import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_attention.ops.ids import END, PAD, START
from keras_attention.text.bucketed_batches import batches_of
from keras_attention.text.tokenizer import Tokenizer


def packed_batches(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    length: int = 128,
    batch_size: int = 32,
    shuffle: bool = True,
    seed: int = 0,
) -> tf.data.Dataset:
    """Makes batches of rows that hold several texts each, `[START] text [END] [START] text [END]`.

    A `CausalLM` reads each text of a row as if it had a row of its own. All rows have one
    length, so there is one shape to compile, and hardly a place is padding: of the 29,000 English
    sentences of Multi30k in rows of 128 it is 2 %, where a row for each sentence, padded to
    the longest of 32, would have 43 %.

    Longer texts go to rows first, each to the fullest row that has room.

    Args:
        texts: Any number of strings.
        tokenizer: Encodes them.
        length: Of the rows. A text that is longer, `[START]` and `[END]` counted, is cut, with a
            warning that counts these texts; it then has no `[END]`, for it does not end there.
        batch_size: Rows in a batch; the last batch may have fewer.
        shuffle: Whether rows come in a new order in each epoch. `False` for validation.
        seed: Of the orders.

    Returns:
        A dataset of `(ids (B, length), labels (B, length))`, int32, padded with 0. A label is the
        next id of the same text, and 0 where there is none. Its cardinality is known.

    Raises:
        ValueError: if there are no texts, `length` has no room for `[START]`, `[END]` and a token
            between, or `batch_size` is not positive.
    """
    if isinstance(texts, str) or not len(texts):
        raise ValueError(f"`texts` should be a list of strings, not empty. Received: {texts!r}")
    if length < 3 or batch_size < 1:
        raise ValueError(
            "`length` should be at least 3 and `batch_size` at least 1. "
            f"Received: {length}, {batch_size}"
        )
    ids = [[START, *row, END] for row in tokenizer.tokenize(list(texts)).to_list()]
    longer = sum(len(text) > length for text in ids)
    if longer:
        warnings.warn(
            f"{longer} of {len(ids)} texts have more than {length} tokens, [START] and [END] "
            "counted, and were truncated.",
            stacklevel=2,
        )
    rows = _pack([text[:length] for text in ids], length)  # (N, L)
    after = np.pad(rows[:, 1:], [(0, 0), (0, 1)])  # (N, L), PAD at the end
    labels = np.where(after == START, PAD, after)
    return batches_of((rows, labels), batch_size, seed if shuffle else None).prefetch(2)


def _pack(texts: list[list[int]], length: int) -> np.ndarray:
    """Best fit, longest first: rows (N, length)."""
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(length + 1)]  # numbers of rows, by their room
    for text in sorted(texts, key=len, reverse=True):
        room = next((r for r in range(len(text), length + 1) if with_room[r]), None)
        if room is None:
            number, room = len(rows), length
            rows.append([])
        else:
            number = with_room[room].pop()
        rows[number] += text
        with_room[room - len(text)].append(number)
    return np.array([row + [PAD] * (length - len(row)) for row in rows], "int32")
