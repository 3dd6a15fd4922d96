"""Batches of packed texts, several per row, for causal language models."""

import warnings
from collections.abc import Sequence

import numpy as np

from keras_attention.ops.ids import END, PAD, START
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.batches import ShuffledBatches
from keras_attention.utils.validation import check_texts


def packed_batches(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    length: int = 128,
    batch_size: int = 32,
    shuffle: bool = True,
    seed: int = 0,
) -> ShuffledBatches:
    """Returns batches of rows with several texts each, `[START] text [END] [START] text [END]`.

    A `CausalLM` masks the texts of a row from each other. All rows have one length, so there is one
    shape to compile and little padding: for the 29,000 English sentences of Multi30k in rows of 128
    it is 2 %, where one row per sentence, padded to the longest of 32, has 43 %.

    Texts are packed longest first, each into the fullest row with enough room (best fit).

    Args:
        texts: List of strings.
        tokenizer: Tokenizer of the texts.
        length: Length of the rows. Longer texts, including `[START]` and `[END]`, are truncated and
            then have no `[END]`; a warning gives their number.
        batch_size: Number of rows in a batch; the last batch may have fewer.
        shuffle: Whether to shuffle the rows in each epoch. Use `False` for validation.
        seed: Random seed of the order.

    Returns:
        `ShuffledBatches` with elements `(ids (B, length), labels (B, length))`, int32, padded with
        0. A label is the next id of the same text, or 0.

    Raises:
        ValueError: If there are no texts, `length` is less than 3, or `batch_size` is not positive.
    """
    check_texts("texts", texts)
    if not len(texts):
        raise ValueError(f"`texts` must be a non-empty list of strings. Received: texts={texts!r}")
    if length < 3 or batch_size < 1:
        raise ValueError(
            "`length` must be at least 3 and `batch_size` at least 1. "
            f"Received: length={length}, batch_size={batch_size}"
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
    next_ids = np.pad(rows[:, 1:], [(0, 0), (0, 1)])  # (N, L), PAD at the end
    labels = np.where(next_ids == START, PAD, next_ids)
    return ShuffledBatches([((rows, labels), batch_size)], shuffle, seed)


def _pack(texts: list[list[int]], length: int) -> np.ndarray:
    """Packs texts into rows (N, length), longest first, by best fit."""
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(length + 1)]  # row indices by free length
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
