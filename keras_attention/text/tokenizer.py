"""Base class of the tokenizers: special ids, normalization, encoding, decoding and saving."""

import collections
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from keras_attention.ops.ids import END, PAD, SPECIALS, UNKNOWN
from keras_attention.text.files import PathLike, iterate_lines

NORMALIZATIONS = ("NFC", "NFKC", None)
CONFIG_FILE = "tokenizer.json"


class Tokenizer(tf.Module):
    """Base class of the tokenizers: text to ids and back, as operations of a TensorFlow graph.

    Ids 0 to 3 are `[PAD]`, `[START]`, `[END]` and `[UNK]` in every vocabulary. Special ids are
    never produced from text, even if it contains a special token's string. `tokenize`, `encode`
    and `detokenize` work eagerly, in `tf.function` and in `tf.data` maps, with every Keras backend.

    A tokenizer is a `tf.Module`. It is tracked automatically as an attribute of a Keras layer or
    model; for an export, call `ExportArchive.track(tokenizer)`.

    A subclass defines `vocabulary_file`, `train`, `_read` and `_write` (the vocabulary as bytes),
    `_split` (text to ids) and `_join` (ids to text).

    Args:
        vocabulary: The tokens in the order of their ids, beginning with the four special tokens.
        lowercase: Whether to lower-case text (by Unicode: "Ä" becomes "ä", "ß" is unchanged).
        normalization: Unicode normal form applied to text: `"NFC"`, `"NFKC"` or `None`.

    Raises:
        ValueError: If `normalization` is unknown, or the vocabulary does not begin with the special
            tokens, contains no other tokens, or contains a token twice.
    """

    vocabulary_file: str

    def __init__(
        self, vocabulary: Sequence[str], lowercase: bool, normalization: str | None
    ) -> None:
        super().__init__()
        vocabulary = tuple(vocabulary)
        if len(vocabulary) < 5 or vocabulary[:4] != SPECIALS:
            raise ValueError(
                f"`vocabulary` must begin with {SPECIALS} and contain more tokens. "
                f"Received: vocabulary[:5]={vocabulary[:5]}"
            )
        if len(set(vocabulary)) != len(vocabulary):
            repeated = collections.Counter(vocabulary).most_common(1)[0][0]
            raise ValueError(
                f"`vocabulary` must contain each token once. Received: {repeated!r} more than once"
            )
        if not isinstance(lowercase, bool):
            raise ValueError(f"`lowercase` must be a bool. Received: lowercase={lowercase!r}")
        _check_normalization(normalization)
        self._vocabulary = vocabulary
        self.lowercase = lowercase
        self.normalization = normalization

    @property
    def vocabulary(self) -> list[str]:
        """List of the tokens, in the order of their ids."""
        return list(self._vocabulary)

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, including the special ones."""
        return len(self._vocabulary)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Returns the tokens of one sequence of ids, including the special ones.

        Args:
            ids: Ids of shape `(T,)`.

        Returns:
            List of T strings.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        flat_ids = _as_array(ids).reshape(-1)
        self._check_range(flat_ids)
        return [self._vocabulary[id] for id in flat_ids]

    def tokenize(self, strings: Sequence[str] | tf.Tensor) -> tf.RaggedTensor:
        """Converts text to ids, without special tokens.

        Args:
            strings: Strings of shape `(B,)`. Bytes that are not UTF-8 become U+FFFD; tabs, line
                breaks and null characters become spaces.

        Returns:
            int32 `tf.RaggedTensor` of shape `(B, None)`.

        Raises:
            ValueError: If `strings` is not of rank 1.
        """
        return self._split(self.normalize(strings))

    def normalize(self, strings: Sequence[str] | tf.Tensor) -> tf.Tensor:
        """Applies the normalization that `tokenize` applies before it splits the text.

        Args:
            strings: Strings of shape `(B,)`.

        Returns:
            Strings of shape `(B,)` in valid UTF-8, with spaces for tabs, line breaks and null
            characters, the normal form of `normalization`, and lower case if `lowercase` is True.

        Raises:
            ValueError: If `strings` is not of rank 1.
        """
        return normalize(_as_strings(strings), self.lowercase, self.normalization)

    def encode(
        self, strings: Sequence[str] | tf.Tensor, max_length: int | None = None
    ) -> tf.Tensor:
        """Converts text to a padded batch of ids, each row ending with `[END]`.

        Args:
            strings: Strings of shape `(B,)`.
            max_length: Maximum length of a row, including `[END]`. Longer rows are truncated
                before `[END]`; outside of a graph a warning gives their number. `None` sets no
                limit.

        Returns:
            int32 tensor of shape `(B, T)`, where T is the length of the longest row, padded with 0.

        Raises:
            ValueError: If `strings` is not of rank 1 or `max_length` is not positive.
        """
        return self.encode_ragged(strings, max_length).to_tensor(PAD)

    def encode_ragged(
        self, strings: Sequence[str] | tf.Tensor, max_length: int | None = None
    ) -> tf.RaggedTensor:
        """Returns the ids of `encode` without padding: int32 `tf.RaggedTensor` `(B, None)`."""
        return append_end(self.tokenize(strings), max_length)

    def encode_normal(self, strings: tf.Tensor, max_length: int) -> tf.Tensor:
        """Encodes normalized text with operations that TFLite supports.

        Args:
            strings: Strings of shape `(B,)` returned by `normalize`.
            max_length: Maximum length of a row, including `[END]`.

        Returns:
            int32 tensor of shape `(B, T)` with T at most `max_length`, padded with 0.
        """
        ids = self._split(strings)
        lengths = tf.minimum(tf.cast(ids.row_lengths(), "int32"), max_length - 1)
        padded = tf.pad(ids.to_tensor(PAD)[:, : max_length - 1], [[0, 0], [0, 1]])  # (B, T)
        is_end = tf.range(tf.shape(padded)[1]) == tf.expand_dims(lengths, 1)
        return tf.where(is_end, END, padded)

    def detokenize(self, ids: Sequence[Sequence[int]] | tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Converts ids to text, up to the first `[END]` and without special tokens.

        `[UNK]` is written as "[UNK]".

        Args:
            ids: Ids of shape `(B, T)`: a tensor of any backend, an array or a `tf.RaggedTensor`.

        Returns:
            Strings of shape `(B,)`.

        Raises:
            ValueError: If `ids` is not of rank 2 or contains an id that is not in the vocabulary
                (in a graph such an id is treated as `[UNK]`).
        """
        dense: Any = ids
        if isinstance(ids, tf.RaggedTensor):
            dense = ids.to_tensor(PAD)
        elif not tf.is_tensor(ids):
            dense = _as_array(ids)
        if len(dense.shape) != 2:
            raise ValueError(
                f"`ids` must have shape (batch, time). Received: ids.shape={dense.shape}"
            )
        if tf.executing_eagerly():
            self._check_range(np.asarray(dense))
        known = (dense >= 0) & (dense < self.vocabulary_size)
        dense = tf.where(known, tf.cast(dense, "int32"), UNKNOWN)
        return self._join(tf.ragged.boolean_mask(dense, is_text(dense)))

    def for_tflite(self) -> "Tokenizer | None":
        """Returns a tokenizer of operations that TFLite has, `None` if TFLite lacks some."""
        return None

    def get_config(self) -> dict:
        """Returns the options that `save` writes in addition to the vocabulary."""
        return {"lowercase": self.lowercase, "normalization": self.normalization}

    def save(self, folder: PathLike) -> None:
        """Writes `tokenizer.json` and the vocabulary to a folder, for `load_tokenizer`.

        Args:
            folder: Path of the folder, created if it does not exist.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"class_name": type(self).__name__, "config": self.get_config()}
        _replace(folder / self.vocabulary_file, self._write())
        _replace(folder / CONFIG_FILE, json.dumps(config, indent=2).encode() + b"\n")

    def _check_range(self, ids: np.ndarray) -> None:
        wrong = ids[(ids < 0) | (ids >= self.vocabulary_size)]
        if wrong.size:
            raise ValueError(
                f"`ids` must be between 0 and the vocabulary size minus 1, "
                f"{self.vocabulary_size - 1}. Received: {wrong.flat[0]}"
            )


def is_text(ids: tf.Tensor) -> tf.Tensor:
    """Returns for ids `(B, T)` whether they are written: before `[END]` and not special."""
    ended = tf.cumsum(tf.cast(ids == END, "int32"), axis=1)  # (B, T)
    return (ended == 0) & (ids >= UNKNOWN)


def normalize(strings: tf.Tensor, lowercase: bool, normalization: str | None) -> tf.Tensor:
    """Normalizes strings: UTF-8, plain spaces, one Unicode normal form, optional lower case."""
    strings = tf.strings.unicode_transcode(strings, "UTF-8", "UTF-8")
    # `tf.strings.lower` ends a text at a null character.
    strings = tf.strings.regex_replace(strings, r"[\s\x00]", " ")
    if normalization is not None:
        strings = tf_text.normalize_utf8(strings, normalization)
    if lowercase:
        # Not tf_text.case_fold_utf8, which writes "ß" as "ss".
        strings = tf.strings.lower(strings, encoding="utf-8")
    return strings


def training_lines(
    source: PathLike | Iterable[str], lowercase: bool, normalization: str | None
) -> list[str]:
    """Reads and normalizes the text from which a vocabulary is learned.

    Args:
        source: A file, a list of files, or an iterable of lines.
        lowercase: See `Tokenizer`.
        normalization: See `Tokenizer`.

    Returns:
        List of the normalized lines that are not blank.

    Raises:
        ValueError: If there is no text, `normalization` is unknown, or a file cannot be read (see
            `read_lines`).
    """
    _check_normalization(normalization)
    lines = iterate_lines(source)
    texts = []
    for chunk in _chunks(lines, 10_000):
        normalized = normalize(_as_strings(chunk), lowercase, normalization).numpy()
        texts += [text for line in normalized if (text := line.decode("utf-8")).strip()]
    if not texts:
        raise ValueError(
            "`source` must contain at least one line that is not blank. "
            f"Received: source={source!r}"
        )
    return texts


def _check_normalization(normalization: str | None) -> None:
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {NORMALIZATIONS}. "
            f"Received: normalization={normalization!r}"
        )


def _chunks(lines: Iterator[str], size: int) -> Iterator[list[str]]:
    lines = iter(lines)
    while chunk := list(islice(lines, size)):
        yield chunk


def _as_strings(strings: Sequence[str] | tf.Tensor) -> tf.Tensor:
    strings = tf.convert_to_tensor(strings, dtype=tf.string)
    if strings.shape.rank != 1:
        raise ValueError(
            f"`strings` must be a list or a tensor of shape (batch,). Received: {strings}"
        )
    return strings


def _as_array(ids: Sequence) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(ids)).astype("int64")


def append_end(ids: tf.RaggedTensor, max_length: int | None) -> tf.RaggedTensor:
    """Appends `[END]` to each row, truncating it to `max_length` including `[END]`."""
    if max_length is not None:
        if max_length < 1:
            raise ValueError(f"`max_length` must be at least 1. Received: max_length={max_length}")
        _warn_if_longer(ids, max_length - 1)
        ids = ids[:, : max_length - 1]
    ends = tf.fill([ids.nrows(), 1], END)  # (B, 1)
    return tf.concat([ids, ends], axis=1)


def _warn_if_longer(ids: tf.RaggedTensor, length: int) -> None:
    if not tf.executing_eagerly():
        return
    count = int(tf.reduce_sum(tf.cast(ids.row_lengths() > length, "int32")))
    if count:
        warnings.warn(
            f"{count} of {ids.nrows()} texts have more than {length} tokens and were truncated.",
            stacklevel=5,
        )


def _replace(path: Path, content: bytes) -> None:
    """Writes a file atomically: an interruption leaves the previous version."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
