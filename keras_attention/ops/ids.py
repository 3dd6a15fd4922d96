"""The four ids that every vocabulary of the library begins with."""

import numpy as np

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("[PAD]", "[START]", "[END]", "[UNK]")


def check_vocabulary_size(size: int) -> None:
    """Raises a `ValueError` unless there is a token beside the four special ones."""
    if size <= len(SPECIALS):
        raise ValueError(
            f"vocabulary_size: expected more than the {len(SPECIALS)} special tokens "
            f"{SPECIALS}. Received: vocabulary_size={size}"
        )


def check_ids(ids: np.ndarray, vocabulary_size: int, name: str) -> None:
    """Raises a `ValueError` unless the array is (batch, length), of one column at least, of ids."""
    columns = ids.ndim == 2 and ids.shape[1]
    if not columns or (ids.size and not 0 <= ids.min() <= ids.max() < vocabulary_size):
        raise ValueError(
            f"{name}: expected ids (batch, {name}) from 0 to {vocabulary_size - 1}, one at least "
            f"in a row. Received: shape={ids.shape}"
            + (f", ids from {ids.min()} to {ids.max()}" if ids.size else "")
        )
