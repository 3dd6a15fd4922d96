"""What all tokenizers share: special ids, normalization, encoding, decoding, saving."""

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from keras_attention.ops.ids import END, PAD, SPECIALS, UNKNOWN
from keras_attention.text.files import PathLike, lines_of

NORMALIZATIONS = ("NFC", "NFKC", None)
CONFIG_FILE = "tokenizer.json"


class Tokenizer(tf.Module):
    """Base class: text to ids and back, as operations of a TensorFlow graph.

    Ids 0 to 3 are `[PAD]`, `[START]`, `[END]` and `[UNK]` in every vocabulary. Text never
    becomes a special id, also where it spells one. `tokenize`, `encode` and `detokenize` work
    eagerly, in `tf.function`, and in `tf.data` maps, whatever the Keras backend.

    A tokenizer is a `tf.Module`: an attribute of a Keras layer or model is tracked by itself,
    and `ExportArchive.track(tokenizer)` tracks it for an export.

    A subclass names its vocabulary's file and gives `train`, `_read` and `_write` (the
    vocabulary as bytes), `_split` (text to ids) and `_join` (ids to text).

    Args:
        vocabulary: The tokens, the first four being the special ones.
        lowercase: Whether text is lower-cased (by Unicode, so "Ä" becomes "ä" and "ß" stays).
        normalization: `"NFC"`, `"NFKC"` or `None`: Unicode's normal form that text is brought to.

    Raises:
        ValueError: if `normalization` is none of these, or the vocabulary does not begin with the
            special tokens, has none besides them, or has one twice.
    """

    vocabulary_file: str
    for_tflite = False  # whether tensorflow-text has its operations for TFLite

    def __init__(
        self, vocabulary: Sequence[str], lowercase: bool, normalization: str | None
    ) -> None:
        super().__init__()
        vocabulary = tuple(vocabulary)
        if len(vocabulary) < 5 or vocabulary[:4] != SPECIALS:
            raise ValueError(
                f"A vocabulary should begin with {SPECIALS} and have more. "
                f"Received: {vocabulary[:5]}"
            )
        if len(set(vocabulary)) != len(vocabulary):
            repeat_batch = next(token for token in vocabulary if vocabulary.count(token) > 1)
            raise ValueError(
                f"A vocabulary should have each token once. Received: {repeat_batch!r} twice"
            )
        _check_normalization(normalization)
        self._vocabulary = vocabulary
        self.lowercase = lowercase
        self.normalization = normalization

    @property
    def vocabulary(self) -> list[str]:
        """The tokens, in the order of their ids."""
        return list(self._vocabulary)

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens, special ones included."""
        return len(self._vocabulary)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Names the tokens of one sequence, one name per id, special tokens included.

        Args:
            ids: `(T,)` ids.

        Returns:
            `T` strings.

        Raises:
            ValueError: if an id is not in the vocabulary.
        """
        ids = _as_array(ids).reshape(-1)
        self._check_range(ids)
        return [self._vocabulary[id] for id in ids]

    def tokenize(self, strings: Sequence[str] | tf.Tensor) -> tf.RaggedTensor:
        """Splits text into ids, without special tokens.

        Args:
            strings: `(B,)` strings. Bytes that are not UTF-8 become U+FFFD; tabs and line breaks
                become spaces.

        Returns:
            A `tf.RaggedTensor` `(B, None)` of int32.

        Raises:
            ValueError: if `strings` is not of rank 1.
        """
        return self._split(self.normalize(strings))

    def normalize(self, strings: Sequence[str] | tf.Tensor) -> tf.Tensor:
        """Brings text to the form that `tokenize` splits, as it does by itself.

        Args:
            strings: `(B,)` strings.

        Returns:
            `(B,)` strings: valid UTF-8 with plain spaces, one normal form and one case.

        Raises:
            ValueError: if `strings` is not of rank 1.
        """
        return normalize(_as_strings(strings), self.lowercase, self.normalization)

    def encode(
        self, strings: Sequence[str] | tf.Tensor, max_length: int | None = None
    ) -> tf.Tensor:
        """Turns text into a padded batch of ids, each row closed by `[END]`.

        Args:
            strings: `(B,)` strings.
            max_length: The longest row, `[END]` counted. Longer rows lose their last tokens and
                keep `[END]`; a warning says how many did (in a graph there is none). `None`
                keeps all.

        Returns:
            int32 `(B, T)`, `T` the longest row, padded with 0.

        Raises:
            ValueError: if `strings` is not of rank 1 or `max_length` is not positive.
        """
        return self.encode_ragged(strings, max_length).to_tensor(PAD)

    def encode_ragged(
        self, strings: Sequence[str] | tf.Tensor, max_length: int | None = None
    ) -> tf.RaggedTensor:
        """As `encode`, without padding: a `tf.RaggedTensor` `(B, None)` of int32."""
        return close(self.tokenize(strings), max_length)

    def encode_normal(self, strings: tf.Tensor, max_length: int) -> tf.Tensor:
        """As `encode`, of text in normal form, and without operations that TFLite lacks.

        Args:
            strings: `(B,)`, from `normalize`.
            max_length: The longest row, `[END]` counted.

        Returns:
            int32 `(B, T)`, padded with 0; `T` is at most `max_length`.
        """
        ids = self._split(strings)
        lengths = tf.minimum(tf.cast(ids.row_lengths(), "int32"), max_length - 1)
        padded = tf.pad(ids.to_tensor(PAD)[:, : max_length - 1], [[0, 0], [0, 1]])  # (B, T)
        is_end = tf.range(tf.shape(padded)[1]) == tf.expand_dims(lengths, 1)
        return tf.where(is_end, END, padded)

    def detokenize(self, ids: Sequence[Sequence[int]] | tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Turns ids into text: what stands before the first `[END]`, without special tokens.

        `[UNK]` is written as it is named.

        Args:
            ids: `(B, T)` ids, a tensor of any backend, an array or a `tf.RaggedTensor`.

        Returns:
            `(B,)` strings.

        Raises:
            ValueError: if `ids` is not of rank 2, or holds an id that is not in the vocabulary
                (in a graph such an id is read as `[UNK]`).
        """
        if isinstance(ids, tf.RaggedTensor):
            ids = ids.to_tensor(PAD)
        if not tf.is_tensor(ids):
            ids = _as_array(ids)
        if len(ids.shape) != 2:
            raise ValueError(f"`ids` should have shape (batch, time). Received: {ids.shape}")
        if tf.executing_eagerly():
            self._check_range(np.asarray(ids))
        known = (ids >= 0) & (ids < self.vocabulary_size)
        ids = tf.where(known, tf.cast(ids, "int32"), UNKNOWN)
        ended = tf.cumsum(tf.cast(ids == END, "int32"), axis=1)  # (B, T)
        kept = (ended == 0) & (ids >= UNKNOWN)
        return self._join(tf.ragged.boolean_mask(ids, kept))

    def get_config(self) -> dict:
        """The options that `save` writes beside the vocabulary."""
        return {"lowercase": self.lowercase, "normalization": self.normalization}

    def save(self, folder: PathLike) -> None:
        """Writes `tokenizer.json` and the vocabulary to a folder; `load_tokenizer` reads them.

        Args:
            folder: The folder; it is made where it does not exist.
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
                f"ids should be at least 0 and less than the vocabulary's size, "
                f"{self.vocabulary_size}. Received: {wrong.flat[0]}"
            )


def normalize(strings: tf.Tensor, lowercase: bool, normalization: str | None) -> tf.Tensor:
    """Brings strings to valid UTF-8 with plain spaces, one normal form and one case."""
    strings = tf.strings.unicode_transcode(strings, "UTF-8", "UTF-8")
    strings = tf.strings.regex_replace(strings, r"\s", " ")
    if normalization is not None:
        strings = tf_text.normalize_utf8(strings, normalization)
    if lowercase:
        # Not tf_text.case_fold_utf8, which writes "ß" as "ss".
        strings = tf.strings.lower(strings, encoding="utf-8")
    return strings


def training_lines(
    source: PathLike | Iterable[str], lowercase: bool, normalization: str | None
) -> list[str]:
    """Reads the text that a vocabulary is learned from, normalized as `tokenize` does.

    Args:
        source: A file, a list of files, or an iterable of lines.
        lowercase: As in `Tokenizer`.
        normalization: As in `Tokenizer`.

    Returns:
        The lines that are not blank.

    Raises:
        ValueError: if there is no text, `normalization` is unknown, or as `read_lines` does.
    """
    _check_normalization(normalization)
    lines = lines_of(source)
    kept = []
    for chunk in _chunks(lines, 10_000):
        normalized = normalize(_as_strings(chunk), lowercase, normalization).numpy()
        kept += [text for line in normalized if (text := line.decode("utf-8")).strip()]
    if not kept:
        raise ValueError(
            f"Expected at least one line of text to learn a vocabulary from. Received: {source!r}"
        )
    return kept


def _check_normalization(normalization: str | None) -> None:
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` should be one of {NORMALIZATIONS}. Received: {normalization!r}"
        )


def _chunks(lines: Iterator[str], size: int) -> Iterator[list[str]]:
    lines = iter(lines)
    while chunk := list(islice(lines, size)):
        yield chunk


def _as_strings(strings: Sequence[str] | tf.Tensor) -> tf.Tensor:
    strings = tf.convert_to_tensor(strings, dtype=tf.string)
    if strings.shape.rank != 1:
        raise ValueError(
            f"Expected a list or a tensor of strings, shape (batch,). Received: {strings}"
        )
    return strings


def _as_array(ids: Sequence) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(ids)).astype("int64")


def close(ids: tf.RaggedTensor, max_length: int | None) -> tf.RaggedTensor:
    """Cuts rows of ids to `max_length` with the `[END]` that it puts after each."""
    if max_length is not None:
        if max_length < 1:
            raise ValueError(f"`max_length` should be at least 1. Received: {max_length}")
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
    """Writes a file so that a crash leaves the old one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
