"""Batches of packed rows, of several texts for language models or pairs for Transformers."""

import warnings
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from keras_attention.ops.ids import END, PAD, START
from keras_attention.text.files import Pair
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.batches import ShuffledBatches
from keras_attention.utils.validation import check_pairs, check_texts


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
    ids = [[START, *row, END] for row in tokenizer.tokenize_to_lists(texts)]
    longer = sum(len(text) > length for text in ids)
    if longer:
        warnings.warn(
            f"{longer} of {len(ids)} texts have more than {length} tokens, [START] and [END] "
            "counted, and were truncated.",
            stacklevel=2,
        )
    ids = [text[:length] for text in ids]
    rows = _join(ids, pack(np.array([[len(text)] for text in ids]), length), length)  # (N, L)
    next_ids = np.pad(rows[:, 1:], [(0, 0), (0, 1)])  # (N, L), PAD at the end
    labels = np.where(next_ids == START, PAD, next_ids)
    return ShuffledBatches([((rows, labels), batch_size)], shuffle, seed)


def packed_pair_batches(
    pairs: Sequence[Pair],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    length: int = 128,
    batch_size: int = 16,
    shuffle: bool = True,
    seed: int = 0,
) -> ShuffledBatches:
    """Returns batches of rows with several sentence pairs each, for a packed Transformer.

    A model of `models.transformer(..., packed=True)` masks the pairs of a row from each other. All
    rows have one length, so there is one shape to compile and little padding: for the 29,000 pairs
    of Multi30k in rows of 128 it is 3 %, where `bucketed_batches` has 17 %.

    Pairs are packed longest first, each into the fullest row with enough room on both sides.

    Args:
        pairs: `(source, target)` sentences.
        source_tokenizer: Tokenizer of the source.
        target_tokenizer: Tokenizer of the target.
        length: Length of the rows on both sides. Longer sentences, `[END]` counted, are truncated,
            with a warning that gives their number.
        batch_size: Number of rows in a batch; the last batch may have fewer.
        shuffle: Whether to shuffle the rows in each epoch. Use `False` for validation.
        seed: Random seed of the order.

    Returns:
        `ShuffledBatches` with elements `({"source": (B, length), "target": (B, length)}, labels
        (B, length))`, int32, padded with 0. A row of `source` is `text [END] text [END]`, of
        `target` `[START] text [START] text`, and of `labels` `text [END] text [END]`.

    Raises:
        ValueError: If there are no pairs, or a number is not positive.
    """
    check_pairs("pairs", pairs)
    if length < 1 or batch_size < 1:
        raise ValueError(
            "`length` and `batch_size` must be at least 1. "
            f"Received: length={length}, batch_size={batch_size}"
        )
    sides = zip(*pairs, strict=True)
    sources, targets = (
        tokenizer.encode_to_lists(texts, length)
        for tokenizer, texts in zip((source_tokenizer, target_tokenizer), sides, strict=True)
    )
    sizes = np.array([*zip(map(len, sources), map(len, targets), strict=True)])  # (N, 2)
    rows = pack(sizes, length)
    source, labels = (_join(texts, rows, length) for texts in (sources, targets))  # (N, L)
    shifted = [[START, *text[:-1]] for text in targets]
    inputs = {"source": source, "target": _join(shifted, rows, length)}
    return ShuffledBatches([((inputs, labels), batch_size)], shuffle, seed)


def pack(sizes: np.ndarray, length: int) -> list[list[int]]:
    """Assigns items to rows, longest first, each to the fullest row with enough room (best fit).

    Args:
        sizes: Int `(N, K)`, the size of each item on each side of a row, at most `length`.
        length: Length of each side.

    Returns:
        The indices of the items of each row.

    Example:

    >>> pack(np.array([[2], [5], [3], [4]]), 8)
    [[1, 2], [3, 0]]
    """
    rows: list[list[int]] = []
    with_room: dict[tuple, list[int]] = defaultdict(list)  # rows by their room on each side
    counts = np.zeros([length + 1] * sizes.shape[1], "int32")
    room_left = np.indices(counts.shape).sum(0)
    none = room_left.max() + 1
    for item in np.argsort(-sizes.max(1), kind="stable").tolist():
        size = sizes[item]
        enough = tuple(slice(n, None) for n in size)
        candidates = np.where(counts[enough] > 0, room_left[enough], none)
        best = candidates.argmin()
        if candidates.flat[best] == none:
            room, row = np.full(len(size), length), len(rows)
            rows.append([])
        else:
            room = size + np.unravel_index(best, candidates.shape)
            row = with_room[tuple(room)].pop()
            counts[tuple(room)] -= 1
        rows[row].append(item)
        with_room[tuple(room - size)].append(row)
        counts[tuple(room - size)] += 1
    return rows


def _join(texts: Sequence[list[int]], rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Concatenates the texts of each row and pads them, (N, length)."""
    joined = np.full((len(rows), length), PAD, "int32")
    for number, row in enumerate(rows):
        ids = [id for text in row for id in texts[text]]
        joined[number, : len(ids)] = ids
    return joined
