"""The four special ids at the beginning of every vocabulary."""

import numpy as np

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("[PAD]", "[START]", "[END]", "[UNK]")


def check_vocabulary_size(vocabulary_size: int) -> None:
    """Raises a `ValueError` unless the vocabulary exceeds the four special tokens."""
    if vocabulary_size <= len(SPECIALS):
        raise ValueError(
            f"`vocabulary_size` must be greater than {len(SPECIALS)}, the number of special tokens "
            f"{SPECIALS}. Received: vocabulary_size={vocabulary_size}"
        )


def check_ids(ids: np.ndarray, vocabulary_size: int, name: str) -> None:
    """Raises a `ValueError` unless the array holds ids, (batch, length) with length at least 1."""
    if ids.ndim != 2 or not ids.shape[1]:
        raise ValueError(
            f"`{name}` must be ids of shape (batch, length), with length at least 1. "
            f"Received: {name}.shape={ids.shape}"
        )
    if ids.size and not 0 <= ids.min() <= ids.max() < vocabulary_size:
        raise ValueError(
            f"`{name}` must hold ids from 0 to {vocabulary_size - 1}. "
            f"Received: ids from {ids.min()} to {ids.max()}"
        )
