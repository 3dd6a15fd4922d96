"""BERT's task: some tokens of a text are hidden, and the model says what they were."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_attention.ops.ids import PAD, SPECIALS, UNKNOWN

# What stands in place of a hidden token: an id that every vocabulary has, and that says it.
MASK = UNKNOWN


def mask_tokens(
    ids: np.ndarray,
    vocabulary_size: int,
    rate: float = 0.15,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Hides tokens as BERT does (Devlin et al. 2019, section 3.1).

    Each token is chosen with probability `rate`. Of the chosen ones 80% become `[UNK]`, which
    stands for the paper's `[MASK]`, 10% become any token, and 10% stay. Special ids are not chosen.

    Args:
        ids: (B, T) int, padded with 0.
        vocabulary_size: number of ids.
        rate: the share of tokens to ask for.
        rng: where chance comes from.

    Returns:
        What the model reads and what it is asked for, (B, T) int32 each: the second is the id that
        was there for a chosen token, and 0, which `MaskedCrossEntropy` skips, for the others.

    Raises:
        ValueError: if the rate is not in (0, 1], or an id is not in the vocabulary.

    References:
        Devlin et al. 2019, [BERT](https://arxiv.org/abs/1810.04805).

    Example:

    >>> ids = np.array([[7, 5, 6, 2, 0]])
    >>> read, asked = mask_tokens(ids, vocabulary_size=9, rate=1.0, rng=np.random.default_rng(0))
    >>> read.tolist(), asked.tolist()
    ([[7, 3, 3, 2, 0]], [[7, 5, 6, 0, 0]])
    """
    _check(ids, vocabulary_size, rate)
    rng = np.random.default_rng() if rng is None else rng
    chosen = (rng.random(ids.shape) < rate) & (ids >= len(SPECIALS))
    share = rng.random(ids.shape)
    other = rng.integers(len(SPECIALS), vocabulary_size, ids.shape)
    hidden = np.where(share < 0.8, MASK, np.where(share < 0.9, other, ids))
    read, asked = np.where(chosen, hidden, ids), np.where(chosen, ids, PAD)
    return read.astype("int32"), asked.astype("int32")


class MaskedTexts(keras.utils.PyDataset):
    """Batches for `fit` of a `models.masked_lm`, hidden anew in every epoch.

    Args:
        ids: (N, T) int, padded with 0: the texts, each in a row of its own.
        vocabulary_size: number of ids.
        batch_size: rows in a batch; the last one may be smaller.
        rate: as `mask_tokens` has it.
        shuffle: whether rows come in a new order, and are hidden anew, in every epoch. `False` for
            validation, so that its loss is of the same question each time.
        seed: makes all of it repeatable.
        **kwargs: as every `keras.utils.PyDataset` has them.

    Raises:
        ValueError: if there are no rows, or as `mask_tokens` does.

    Example:

    >>> batches = MaskedTexts(np.array([[7, 5, 6, 2], [8, 2, 0, 0], [5, 4, 2, 0]]), 9, batch_size=2)
    >>> [tuple(read.shape) for read, asked in (batches[place] for place in range(len(batches)))]
    [(2, 4), (1, 4)]
    """

    def __init__(
        self,
        ids: np.ndarray,
        vocabulary_size: int,
        batch_size: int = 64,
        rate: float = 0.15,
        shuffle: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.ids = np.asarray(ids)
        _check(self.ids, vocabulary_size, rate)
        if not len(self.ids) or batch_size < 1:
            raise ValueError(
                "ids, batch_size: expected one row and one at least. "
                f"Received: ids.shape={self.ids.shape}, batch_size={batch_size}"
            )
        self.vocabulary_size = vocabulary_size
        self.batch_size = batch_size
        self.rate = rate
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self._order()

    def __len__(self) -> int:
        return -(-len(self.ids) // self.batch_size)

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[place * self.batch_size : (place + 1) * self.batch_size]
        # A stream of its own for each batch: the same whichever thread asks first.
        rng = np.random.default_rng((self.seed, self.epoch, place))
        return mask_tokens(self.ids[rows], self.vocabulary_size, self.rate, rng)

    def on_epoch_end(self) -> None:
        if self.shuffle:
            self.epoch += 1
            self._order()

    def _order(self):
        count = len(self.ids)
        rng = np.random.default_rng((self.seed, self.epoch))
        self.order = rng.permutation(count) if self.shuffle else np.arange(count)


def _check(ids, vocabulary_size, rate):
    if not 0 < rate <= 1:
        raise ValueError(f"rate: expected a share in (0, 1]. Received: rate={rate}")
    if ids.ndim != 2 or (ids.size and not 0 <= ids.min() <= ids.max() < vocabulary_size):
        raise ValueError(
            f"ids: expected (rows, length) from 0 to {vocabulary_size - 1}. Received: "
            f"shape={ids.shape}" + (f", ids from {ids.min()} to {ids.max()}" if ids.size else "")
        )
