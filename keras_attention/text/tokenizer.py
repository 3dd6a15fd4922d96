"""Base class of the tokenizers: special ids, normalization, encoding, decoding and saving."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.ops.ids import END, PAD, SPECIALS, UNKNOWN
from keras_attention.text.files import PathLike
from keras_attention.text.normalization import (
    as_strings,
    check_normalization,
    normalize,
    normalize_text,
)
from keras_attention.text.rows import (
    append_end,
    append_end_to_lists,
    as_array,
    check_rank,
    is_text,
)
from keras_attention.types import Tensor
from keras_attention.utils.atomic_io import replace_file, write_json
from keras_attention.utils.lazy_tensorflow import tf

CONFIG_FILE = "tokenizer.json"


class Tokenizer:
    """Base class of the tokenizers: text to ids and back, as operations of a TensorFlow graph.

    Ids 0 to 3 are `[PAD]`, `[START]`, `[END]` and `[UNK]` in every vocabulary. Special ids are
    never produced from text, even if it contains a special token's string. `tokenize`, `encode`
    and `detokenize` work eagerly, in `tf.function` and in `tf.data` maps, with every Keras backend.

    `tokenize_to_lists`, `encode_to_lists` and `detokenize_to_texts` take and return Python lists
    instead, with the same results. The library's tokenizers do so without TensorFlow, which is
    imported when it is first needed.

    A subclass defines `vocabulary_file`, `train`, `_read` and `_write` (the vocabulary as bytes),
    `_split` (text to ids) and `_join` (ids to text), and may define `_split_to_lists` and
    `_join_to_texts`, the same without TensorFlow.

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
        check_normalization(normalization)
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
        flat_ids = as_array(ids).reshape(-1)
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
        return normalize(as_strings(strings), self.lowercase, self.normalization)

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
            dense = as_array(ids)
        check_rank(dense)
        if tf.executing_eagerly():
            self._check_range(np.asarray(dense))
        known = (dense >= 0) & (dense < self.vocabulary_size)
        dense = tf.where(known, tf.cast(dense, "int32"), UNKNOWN)
        return self._join(tf.ragged.boolean_mask(dense, is_text(dense)))

    def tokenize_to_lists(self, texts: Sequence[str]) -> list[list[int]]:
        """Converts a list of texts to lists of ids, without special tokens, as `tokenize` does.

        Args:
            texts: Strings.

        Returns:
            A list of ids for each text.

        Raises:
            ValueError: If a text contains a surrogate, which is no character.
        """
        return self._split_to_lists(
            [normalize_text(text, self.lowercase, self.normalization) for text in texts]
        )

    def encode_to_lists(
        self, texts: Sequence[str], max_length: int | None = None
    ) -> list[list[int]]:
        """Converts a list of texts to lists of ids that end with `[END]`, as `encode` does.

        Args:
            texts: Strings.
            max_length: Maximum length of a list, including `[END]`. Longer ones are truncated
                before `[END]`, with a warning that gives their number. `None` sets no limit.

        Returns:
            A list of ids for each text.

        Raises:
            ValueError: If a text contains a surrogate, or `max_length` is not positive.

        Example:

        >>> from keras_attention.text import CharacterTokenizer
        >>> CharacterTokenizer.train(["abba"]).encode_to_lists(["ba", ""])
        [[5, 4, 2], [2]]
        """
        return append_end_to_lists(self.tokenize_to_lists(texts), max_length)

    def detokenize_to_texts(self, ids: Sequence[Sequence[int]] | Tensor) -> list[str]:
        """Converts ids to a list of texts, as `detokenize` does.

        Args:
            ids: Ids of shape `(B, T)`: a tensor of any backend, an array or lists of one length.

        Returns:
            B strings.

        Raises:
            ValueError: If `ids` is not of rank 2 or contains an id that is not in the vocabulary.
        """
        rows = as_array(ids)
        check_rank(rows)
        self._check_range(rows)
        ended = np.cumsum(rows == END, axis=1) > 0  # (B, T)
        is_text = ~ended & (rows >= UNKNOWN)
        return self._join_to_texts(
            [row[mask].tolist() for row, mask in zip(rows, is_text, strict=True)]
        )

    @classmethod
    def _read(cls, content: bytes, config: dict) -> Tokenizer:
        raise NotImplementedError("Tokenizer is abstract.")

    def _write(self) -> bytes:
        raise NotImplementedError("Tokenizer is abstract.")

    def _split(self, strings: tf.Tensor) -> tf.RaggedTensor:
        raise NotImplementedError("Tokenizer is abstract.")

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        raise NotImplementedError("Tokenizer is abstract.")

    def _split_to_lists(self, texts: list[str]) -> list[list[int]]:
        return self._split(tf.constant(texts, "string", [len(texts)])).to_list()

    def _join_to_texts(self, rows: list[list[int]]) -> list[str]:
        texts = self._join(tf.ragged.constant(rows, "int32", ragged_rank=1))
        return [text.decode("utf-8") for text in texts.numpy()]

    def for_tflite(self) -> Tokenizer | None:
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
        with replace_file(folder / self.vocabulary_file) as file:
            file.write_bytes(self._write())
        with replace_file(folder / CONFIG_FILE) as file:
            write_json(file, config)

    def _check_range(self, ids: np.ndarray) -> None:
        wrong = ids[(ids < 0) | (ids >= self.vocabulary_size)]
        if wrong.size:
            raise ValueError(
                f"`ids` must be between 0 and the vocabulary size minus 1, "
                f"{self.vocabulary_size - 1}. Received: {wrong.flat[0]}"
            )
