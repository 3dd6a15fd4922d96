"""Batches for what reads text and does not write it: one label a text, or one tag a word."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_attention.ops.ids import PAD, UNKNOWN
from keras_attention.text.bucketed_batches import Dataset, group_by_length
from keras_attention.text.tokenizer import Tokenizer, close


def labeled_batches(
    texts: Sequence[str],
    labels: Sequence[int],
    tokenizer: Tokenizer,
    batch_size: int = 64,
    max_length: int = 128,
    shuffle: bool = True,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> Dataset:
    """Makes batches of texts with a label each, grouped by length as `batches` does it.

    Args:
        texts: Strings.
        labels: The class of each text, from 0.
        tokenizer: Encodes the texts.
        batch_size: The most texts in a batch.
        max_length: The longest row, `[END]` counted; longer texts are truncated, with a warning
            that counts them.
        shuffle: Whether texts come in a new order in each epoch. `False` for validation.
        seed: Makes the orders repeatable, as for `batches`.
        batch_tokens: The most positions in a batch, padding counted. `None` sets no limit.

    Returns:
        A dataset of `(ids (B, L), labels (B,))`, int32, ids padded with 0. Its cardinality is
        known.

    Raises:
        ValueError: if there are no texts, not as many labels, or a number is not positive.
    """
    if not len(texts) or len(texts) != len(labels):
        raise ValueError(
            "`texts` and `labels` should be as many, one at least. "
            f"Received: {len(texts)} texts, {len(labels)} labels"
        )
    _check_classes(labels)
    labels = np.asarray(labels, "int32")
    ids = tokenizer.encode_ragged(texts, max_length)

    def pad(inside, length):
        return tf.gather(ids, inside).to_tensor(PAD, shape=[None, length]), labels[inside]

    rows = ids.row_lengths().numpy()
    return group_by_length(rows, pad, batch_size, max_length, shuffle, seed, batch_tokens)


def tagged_batches(
    sentences: Sequence[tuple[Sequence[str], Sequence[int]]],
    tokenizer: Tokenizer,
    batch_size: int = 64,
    max_length: int = 128,
    shuffle: bool = True,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> Dataset:
    """Makes batches of sentences with a tag for each word, grouped by length.

    The tag of a word is asked of its first token. Weights are 1 there, and 0 for the tokens that
    go on with a word, for `[END]` and for padding, whose tags are 0 and mean nothing.

    Args:
        sentences: Pairs `(words, tags)` of as many strings as tags, tags from 0.
        tokenizer: Encodes each word by itself.
        batch_size: The most sentences in a batch.
        max_length: The longest row, `[END]` counted; what is longer is truncated, with a warning.
        shuffle: Whether sentences come in a new order in each epoch. `False` for validation.
        seed: Makes the orders repeatable, as for `batches`.
        batch_tokens: The most positions in a batch, padding counted. `None` sets no limit.

    Returns:
        A dataset of `(ids (B, L), tags (B, L), weights (B, L))`, int32, int32 and float32. Its
        cardinality is known.

    Raises:
        ValueError: if there are no sentences, one has not as many tags as words, or a number is
            not positive.
    """
    wrong = [pair for pair in sentences if len(pair[0]) != len(pair[1])]
    if wrong or not len(sentences):
        raise ValueError(
            "`sentences` should be pairs of as many tags as words, one pair at least. "
            f"Received: {wrong[0] if wrong else sentences!r}"
        )
    words, tags = zip(*sentences, strict=True)
    _check_classes([tag for row in tags for tag in row])
    ids, begins = encode_words(tf.ragged.constant(words, tf.string), tokenizer, max_length)
    rows = ids.row_lengths().numpy()
    first = begins.to_tensor(False, shape=[None, max_length]).numpy()  # (N, L)
    spread = np.zeros(first.shape, "int32")
    for row, sentence in enumerate(tags):
        places = np.flatnonzero(first[row])
        spread[row, places] = sentence[: len(places)]  # the last words may be cut

    def pad(inside, length):
        tokens = tf.gather(ids, inside).to_tensor(PAD, shape=[None, length])
        counted = first[inside, :length].astype("float32")
        return tokens, spread[inside, :length], counted

    return group_by_length(rows, pad, batch_size, max_length, shuffle, seed, batch_tokens)


def split_words(texts: Sequence[str] | tf.Tensor) -> tf.RaggedTensor:
    """What stands between white space: `(batch,)` strings to `(batch, None)` strings."""
    return tf.strings.split(tf.convert_to_tensor(texts, tf.string))


def encode_words(
    words: tf.RaggedTensor, tokenizer: Tokenizer, max_length: int
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Encodes each word by itself, eagerly or in a graph, so that tokens belong to words.

    Args:
        words: `(B, None)` strings.
        tokenizer: Encodes them; a word of which it keeps nothing becomes `[UNK]`.
        max_length: The longest row, `[END]` counted; longer ones are truncated with a warning.

    Returns:
        Ids with `[END]`, and whether a word begins there: `(B, None)` int32 and bool.

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
    ids = close(ids, max_length)
    ends = tf.fill([begins.nrows(), 1], False)
    return ids, tf.concat([begins[:, : max_length - 1], ends], axis=1)


def _check_classes(classes):
    wrong = [each for each in classes if isinstance(each, str) or each != int(each) or each < 0]
    if wrong:
        raise ValueError(f"Labels and tags should be whole numbers from 0. Received: {wrong[0]!r}")
