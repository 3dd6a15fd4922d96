"""Normalization of texts before they are split into tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from keras_attention.text.files import PathLike, iterate_lines
from keras_attention.utils.lazy_tensorflow import tf, tf_text

NORMALIZATIONS = ("NFC", "NFKC", None)
WHITE_SPACE = str.maketrans(dict.fromkeys("\t\n\f\r\0", " "))  # that becomes a plain space


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


def normalize_text(text: str, lowercase: bool, normalization: str | None) -> str:
    """Normalizes a text as `normalize` does.

    They may differ in characters that are new in Unicode, of which Python and TensorFlow have the
    tables of different versions.

    Raises:
        UnicodeEncodeError: If the text contains a surrogate, which is no character.
    """
    text.encode("utf-8")
    text = text.translate(WHITE_SPACE)
    if normalization is not None:
        text = unicodedata.normalize(normalization, text)  # type: ignore[arg-type]
    return text.lower() if lowercase else text


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
    check_normalization(normalization)
    lines = (normalize_text(line, lowercase, normalization) for line in iterate_lines(source))
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise ValueError(
            "`source` must contain at least one line that is not blank. "
            f"Received: source={source!r}"
        )
    return texts


def check_normalization(normalization: str | None) -> None:
    """Raises a `ValueError` unless this is one of `NORMALIZATIONS`."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {NORMALIZATIONS}. "
            f"Received: normalization={normalization!r}"
        )


def as_strings(strings: Sequence[str] | tf.Tensor) -> tf.Tensor:
    """Returns strings as a tensor; raises a `ValueError` if it is not of rank 1."""
    strings = tf.convert_to_tensor(strings, dtype=tf.string)
    if strings.shape.rank != 1:
        raise ValueError(
            f"`strings` must be a list or a tensor of shape (batch,). Received: {strings}"
        )
    return strings
