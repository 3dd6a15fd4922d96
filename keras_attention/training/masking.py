"""Masking of tokens for masked language modeling."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_attention.ops.ids import PAD, SPECIALS, UNKNOWN
from keras_attention.utils.batches import ShuffledBatches

# Replaces masked tokens in place of BERT's [MASK], because every vocabulary has it.
MASK = UNKNOWN


def mask_tokens(
    ids: np.ndarray,
    vocabulary_size: int,
    rate: float = 0.15,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Masks tokens for prediction, as in BERT (Devlin et al. 2019, section 3.1).

    Each token is selected with probability `rate`. Of the selected tokens, 80% are replaced by
    `[UNK]` (in place of the paper's `[MASK]`), 10% by a random token, and 10% are unchanged.
    Special tokens are never selected.

    Args:
        ids: int (B, T), padded with 0.
        vocabulary_size: number of ids.
        rate: probability that a token is selected.
        rng: random generator; `None` creates one.

    Returns:
        `(inputs, labels)`, int32 (B, T) each. Labels are the original ids of selected tokens, and
        0, which `MaskedCrossEntropy` ignores, otherwise.

    Raises:
        ValueError: If `rate` is not in (0, 1] or an id is not in the vocabulary.

    References:
        Devlin et al. 2019, [BERT](https://arxiv.org/abs/1810.04805).

    Example:

    >>> ids = np.array([[7, 5, 6, 2, 0]])
    >>> rng = np.random.default_rng(0)
    >>> inputs, labels = mask_tokens(ids, vocabulary_size=9, rate=1.0, rng=rng)
    >>> inputs.tolist(), labels.tolist()
    ([[7, 3, 3, 2, 0]], [[7, 5, 6, 0, 0]])
    """
    _check(ids, vocabulary_size, rate)
    rng = np.random.default_rng() if rng is None else rng
    selected = (rng.random(ids.shape) < rate) & (ids >= len(SPECIALS))
    draw = rng.random(ids.shape)
    random_ids = rng.integers(len(SPECIALS), vocabulary_size, ids.shape)
    replacements = np.where(draw < 0.8, MASK, np.where(draw < 0.9, random_ids, ids))
    inputs = np.where(selected, replacements, ids)
    labels = np.where(selected, ids, PAD)
    return inputs.astype("int32"), labels.astype("int32")


class MaskedTexts(ShuffledBatches):
    """Batches of masked texts for `fit` of a `models.masked_lm`, masked differently in each epoch.

    The order and the masks are a function of the seed and the epoch; see `ShuffledBatches`.

    Args:
        ids: int (N, T), one text per row, padded with 0.
        vocabulary_size: number of ids.
        batch_size: number of texts per batch; the last batch may be smaller.
        rate: probability that a token is selected, see `mask_tokens`.
        shuffle: whether each epoch has a new order and new masks. Use `False` for validation, so
            that losses of different epochs are comparable.
        seed: seed of the order and the masks.
        **kwargs: arguments of `keras.utils.PyDataset`, such as `workers`.

    Raises:
        ValueError: If there are no texts, `batch_size` is below 1, `rate` is not in (0, 1] or an id
            is not in the vocabulary.

    Example:

    >>> batches = MaskedTexts(np.array([[7, 5, 6, 2], [8, 2, 0, 0], [5, 4, 2, 0]]), 9, batch_size=2)
    >>> sorted(batches[i][0].shape for i in range(len(batches)))
    [(1, 4), (2, 4)]
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
        ids = np.asarray(ids)
        _check(ids, vocabulary_size, rate)
        if not len(ids) or batch_size < 1:
            raise ValueError(
                "`ids` must have at least one row and `batch_size` must be at least 1. "
                f"Received: ids.shape={ids.shape}, batch_size={batch_size}"
            )
        super().__init__([(ids, batch_size)], shuffle, seed, **kwargs)
        self.vocabulary_size = vocabulary_size
        self.rate = rate

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        epoch = self.epoch if self.shuffle else 0
        # One generator per batch, so that the masks do not depend on the order of the workers.
        rng = np.random.default_rng((self.seed, epoch, index))
        return mask_tokens(super().__getitem__(index), self.vocabulary_size, self.rate, rng)


def _check(ids, vocabulary_size, rate):
    if not 0 < rate <= 1:
        raise ValueError(f"`rate` must be in (0, 1]. Received: rate={rate}")
    if ids.ndim != 2 or (ids.size and not 0 <= ids.min() <= ids.max() < vocabulary_size):
        raise ValueError(
            f"`ids` must be (rows, length), from 0 to {vocabulary_size - 1}. Received: "
            f"shape={ids.shape}" + (f", ids from {ids.min()} to {ids.max()}" if ids.size else "")
        )
