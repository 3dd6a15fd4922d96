"""Batches of texts with labels or word tags, for classification and tagging."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_attention.ops.ids import PAD, UNKNOWN
from keras_attention.text.batching import assign_buckets, pad_buckets
from keras_attention.text.rows import append_end
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.batches import ShuffledBatches
from keras_attention.utils.lazy_tensorflow import tf
from keras_attention.utils.validation import check_texts


def labeled_batches(
    texts: Sequence[str],
    labels: Sequence[int],
    tokenizer: Tokenizer,
    batch_size: int = 64,
    max_length: int = 128,
    shuffle: bool = True,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> ShuffledBatches:
    """Returns batches of labeled texts, grouped by length as in `bucketed_batches`.

    Args:
        texts: Strings.
        labels: Class of each text, an integer from 0.
        tokenizer: Tokenizer of the texts.
        batch_size: Maximum number of texts in a batch.
        max_length: Maximum number of tokens, including `[END]`; longer texts are truncated, with a
            warning that gives their number.
        shuffle: Whether to shuffle the texts in each epoch. Use `False` for validation.
        seed: Random seed of the order, as in `bucketed_batches`.
        batch_tokens: Maximum number of positions in a batch, including padding, or `None`.

    Returns:
        `ShuffledBatches` with elements `(ids (B, L), labels (B,))`, int32, ids padded with 0.

    Raises:
        ValueError: If there are no texts, the numbers of texts and labels differ, or a number is
            not positive.
    """
    check_texts("texts", texts)
    if not len(texts) or len(texts) != len(labels):
        raise ValueError(
            "`texts` and `labels` must have the same length, at least 1. "
            f"Received: {len(texts)} texts, {len(labels)} labels"
        )
    _check_classes(labels)
    class_ids = np.asarray(labels, "int32")
    ids = tokenizer.encode_ragged(texts, max_length)

    def pad(indices, length):
        return tf.gather(ids, indices).to_tensor(PAD, shape=[None, length]), class_ids[indices]

    lengths = ids.row_lengths().numpy()
    buckets = assign_buckets(lengths, batch_size, max_length, batch_tokens)
    return ShuffledBatches(pad_buckets(buckets, pad), shuffle, seed)


def tagged_batches(
    sentences: Sequence[tuple[Sequence[str], Sequence[int]]],
    tokenizer: Tokenizer,
    batch_size: int = 64,
    max_length: int = 128,
    shuffle: bool = True,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> ShuffledBatches:
    """Returns batches of sentences with a tag for each word, grouped by length.

    The tag of a word is predicted at its first token. The weights are 1 there and 0 at the other
    tokens of a word, at `[END]` and at padding, whose tags are 0 and have no meaning.

    Args:
        sentences: Pairs `(words, tags)` of equal length; tags are integers from 0.
        tokenizer: Tokenizer of the words; each word is encoded separately.
        batch_size: Maximum number of sentences in a batch.
        max_length: Maximum number of tokens, including `[END]`; longer sentences are truncated,
            with a warning.
        shuffle: Whether to shuffle the sentences in each epoch. Use `False` for validation.
        seed: Random seed of the order, as in `bucketed_batches`.
        batch_tokens: Maximum number of positions in a batch, including padding, or `None`.

    Returns:
        `ShuffledBatches` with elements `(ids (B, L), tags (B, L), weights (B, L))` of int32, int32
        and float32.

    Raises:
        ValueError: If there are no sentences, the numbers of words and tags of one differ, or a
            number is not positive.
    """
    wrong = [pair for pair in sentences if len(pair[0]) != len(pair[1])]
    if wrong or not len(sentences):
        raise ValueError(
            "`sentences` must contain at least one pair of words and as many tags. "
            f"Received: {wrong[0] if wrong else sentences!r}"
        )
    words, tags = zip(*sentences, strict=True)
    for row in words:
        check_texts("words", row)
    _check_classes([tag for row in tags for tag in row])
    ids, begins = encode_words(tf.ragged.constant(words, tf.string), tokenizer, max_length)
    lengths = ids.row_lengths().numpy()
    is_first = begins.to_tensor(False, shape=[None, max_length]).numpy()  # (N, L)
    token_tags = np.zeros(is_first.shape, "int32")
    for row, word_tags in enumerate(tags):
        positions = np.flatnonzero(is_first[row])
        token_tags[row, positions] = word_tags[: len(positions)]  # the last words may be truncated

    def pad(indices, length):
        tokens = tf.gather(ids, indices).to_tensor(PAD, shape=[None, length])
        weights = is_first[indices, :length].astype("float32")
        return tokens, token_tags[indices, :length], weights

    buckets = assign_buckets(lengths, batch_size, max_length, batch_tokens)
    return ShuffledBatches(pad_buckets(buckets, pad), shuffle, seed)


def split_words(texts: Sequence[str] | tf.Tensor) -> tf.RaggedTensor:
    """Splits texts at white space: strings `(batch,)` to a ragged tensor `(batch, None)`."""
    return tf.strings.split(tf.convert_to_tensor(texts, tf.string))


def encode_words(
    words: tf.RaggedTensor, tokenizer: Tokenizer, max_length: int
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Encodes each word separately, eagerly or in a graph, so that each token belongs to one word.

    Args:
        words: Ragged tensor of strings `(B, None)`.
        tokenizer: Tokenizer of the words; a word without tokens becomes `[UNK]`.
        max_length: Maximum number of tokens, including `[END]`; longer rows are truncated with a
            warning.

    Returns:
        Tuple `(ids, begins)` of ragged tensors `(B, None)`: int32 ids including `[END]`, and bool,
        True at the first token of a word.

    Example:

    >>> from keras_attention.text import CharacterTokenizer
    >>> words = split_words(["ab c"])
    >>> ids, begins = encode_words(words, CharacterTokenizer.train(["abc"]), max_length=8)
    >>> ids.to_list(), begins.to_list()
    ([[4, 5, 6, 2]], [[True, False, True, False]])
    """
    tokens = tokenizer.tokenize(words.flat_values)  # (words, None)
    empty = tf.cast(tokens.row_lengths() == 0, "int64")
    unknown = tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(empty)], UNKNOWN), empty)
    tokens = tf.concat([tokens, unknown], axis=1)
    begins = tf.ragged.range(tokens.row_lengths()) == 0
    ids, begins = (words.with_flat_values(x).merge_dims(1, 2) for x in (tokens, begins))
    ids = append_end(ids, max_length)
    ends = tf.fill([begins.nrows(), 1], False)
    return ids, tf.concat([begins[:, : max_length - 1], ends], axis=1)


def _check_classes(classes: Sequence[int]) -> None:
    wrong = [each for each in classes if isinstance(each, str) or each != int(each) or each < 0]
    if wrong:
        raise ValueError(f"Labels and tags must be integers of at least 0. Received: {wrong[0]!r}")
