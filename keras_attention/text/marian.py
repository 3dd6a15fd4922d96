"""Tokenizer of Marian models: SentencePiece pieces with ids from a separate vocabulary."""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Sequence

import numpy as np
from sentencepiece import SentencePieceProcessor
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from keras_attention.ops.ids import SPECIALS, UNKNOWN
from keras_attention.text.sentencepiece import load_processor
from keras_attention.text.sentencepiece_tflite import (
    TFLiteSentencePiece,
    add_characters,
    can_split,
)
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.lazy_tensorflow import tf, tf_text

LANGUAGE_CODE = re.compile(r"\A>>.*?<<", re.DOTALL)  # at the beginning of a text
HASH_BUCKETS = 2**62  # large enough to rule out collisions in practice


class MarianTokenizer(Tokenizer):
    """SentencePiece tokenizer whose ids come from a separate vocabulary, as in Marian models.

    The vocabulary of a Marian model contains the pieces of both languages, the SentencePiece model
    those of one. A piece outside the vocabulary becomes `[UNK]`. A text may begin with a language
    code such as `>>fra<<`, which is one token. `detokenize` omits `[UNK]`.

    Text is normalized by the SentencePiece model only.

    Args:
        proto: Serialized SentencePiece model with any special ids.
        vocabulary: The tokens in the order of their ids, beginning with the four special tokens.

    Raises:
        ValueError: If `proto` is not a SentencePiece model, or the vocabulary is invalid (see
            `Tokenizer`).
    """

    vocabulary_file = "sentencepiece.model"

    def __init__(self, proto: bytes, vocabulary: Sequence[str]) -> None:
        super().__init__(vocabulary, lowercase=False, normalization=None)
        self._proto = proto
        self._processor = load_processor(proto)
        self._surfaces = _surfaces(self._processor, self._vocabulary)
        tokens = enumerate(self._vocabulary[len(SPECIALS) :], start=len(SPECIALS))
        self._id_of_token = {token: id for id, token in tokens}

    @classmethod
    def _read(cls, content: bytes, config: dict) -> MarianTokenizer:
        return cls(content, **config)

    def _write(self) -> bytes:
        return self._proto

    @property
    def proto(self) -> bytes:
        """Serialized SentencePiece model."""
        return self._proto

    def for_tflite(self) -> Tokenizer | None:
        """Returns a tokenizer of operations that TFLite has, `None` if TFLite lacks some.

        TFLite has none that recognize language codes, so the vocabulary must have no codes.
        """
        if self.language_codes or not can_split(self._proto):
            return None
        proto, ids = self.pieces()
        surfaces = [surface.replace("▁".encode(), b" ") for surface in self._surfaces]
        return TFLiteSentencePiece(
            self, proto, ids, surfaces, [surface.lstrip() for surface in surfaces], strip_end=True
        )

    def pieces(self) -> tuple[bytes, list[int]]:
        """Returns a SentencePiece model, and for each of its pieces the id in the vocabulary.

        The model also knows the single characters that only the vocabulary has.
        """
        proto = add_characters(self._proto, self._vocabulary[len(SPECIALS) :])
        ids = {token: id for id, token in enumerate(self._vocabulary)}
        pieces = ModelProto.FromString(proto).pieces
        return proto, [ids.get(each.piece, UNKNOWN) for each in pieces]

    @property
    def language_codes(self) -> list[str]:
        """Tokens such as `>>fra<<`, with which a text may begin."""
        return [token for token in self._vocabulary if re.fullmatch(">>.+<<", token)]

    def _split(self, strings: tf.Tensor) -> tf.RaggedTensor:
        # ">>fra<< A text" is the code ">>fra<<" and the text " A text".
        has_code = tf.strings.regex_full_match(strings, ">>.*<<.*")
        codes = tf.strings.regex_replace(strings, "^(>>.*?<<).*$", r"\1")
        strings = tf.strings.regex_replace(strings, "^>>.*?<<", "")
        codes = tf.ragged.boolean_mask(tf.expand_dims(codes, 1), tf.expand_dims(has_code, 1))
        # Created in each call or graph, as in `SentencePieceTokenizer`.
        pieces = tf_text.SentencepieceTokenizer(self._proto, out_type=tf.string).tokenize(strings)
        tokens = tf.concat([codes, pieces], axis=1)  # (B, None)
        return tokens.with_values(self._token_ids(tokens.values))

    def _token_ids(self, tokens: tf.Tensor) -> tf.Tensor:
        sorted_hashes, ids = self._hash_table
        hashes = _hash(tokens)
        indices = tf.searchsorted(sorted_hashes, hashes)
        indices = tf.minimum(indices, len(sorted_hashes) - 1)
        known = tf.gather(sorted_hashes, indices) == hashes
        return tf.where(known, tf.gather(ids, indices), UNKNOWN)

    @functools.cached_property
    def _hash_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted hashes of the tokens, and their ids."""
        # In place of TensorFlow's lookup table, which an export would have to initialize.
        with tf.init_scope():  # since the first use may be in a graph
            hashes = _hash(tf.constant(self._vocabulary[len(SPECIALS) :])).numpy()
        order = np.argsort(hashes)
        return hashes[order], (order + len(SPECIALS)).astype("int32")

    def _split_to_lists(self, texts: list[str]) -> list[list[int]]:
        codes = [LANGUAGE_CODE.match(text) for text in texts]
        others = [LANGUAGE_CODE.sub("", text) for text in texts]
        pieces = self._processor.encode(others, out_type=str)
        rows = [[code[0], *row] if code else row for code, row in zip(codes, pieces, strict=True)]
        return [[self._id_of_token.get(token, UNKNOWN) for token in row] for row in rows]

    def _join_to_texts(self, rows: list[list[int]]) -> list[str]:
        texts = [b"".join(self._surfaces[id] for id in row) for row in rows]
        return [
            text.decode("utf-8", "replace").replace("▁", " ").strip(string.whitespace)
            for text in texts
        ]

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        text = tf.strings.reduce_join(tf.gather(tf.constant(self._surfaces), ids), axis=1)
        # Byte pieces may not form valid UTF-8.
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
        return tf.strings.strip(tf.strings.regex_replace(text, "▁", " "))

    def get_config(self) -> dict:
        return {"vocabulary": self.vocabulary}


def _hash(tokens: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(tokens, HASH_BUCKETS)


def _surfaces(model: SentencePieceProcessor, vocabulary: Sequence[str]) -> list[bytes]:
    """Returns the text of each token, empty for special tokens."""

    def surface(token):
        id = model.piece_to_id(token)  # the id of [UNK] if there is no such piece
        if model.is_byte(id):  # "<0xE4>"
            return bytes([int(token[1:-1], 16)])
        return b"" if model.is_control(id) else token.encode("utf-8")

    return [b""] * len(SPECIALS) + [surface(token) for token in vocabulary[len(SPECIALS) :]]
