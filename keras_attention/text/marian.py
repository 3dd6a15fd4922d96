"""SentencePiece as Marian models have it: pieces are looked up in a vocabulary of their own."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from keras_attention.ops.ids import SPECIALS, UNKNOWN
from keras_attention.text.sentencepiece import processor_of
from keras_attention.text.tokenizer import Tokenizer

BUCKETS = 2**62  # so many that two tokens have not the same hash


class MarianTokenizer(Tokenizer):
    """The pieces of a SentencePiece model, with ids from a vocabulary beside it.

    The vocabulary of a Marian model has the pieces of both languages; the model that splits has
    those of one. A piece that is not in the vocabulary becomes `[UNK]`, also an unknown character
    unless the vocabulary has it from the other language. A text may begin with a language code,
    `>>fra<<`, which is one token. Text is written without `[UNK]`.

    The model normalizes text itself; nothing else does.

    Args:
        proto: the serialized SentencePiece model, of any ids.
        vocabulary: the tokens, the first four being the special ones.

    Raises:
        ValueError: if `proto` is no SentencePiece model, or as `Tokenizer` has it.
    """

    vocabulary_file = "sentencepiece.model"

    def __init__(self, proto: bytes, vocabulary: Sequence[str]) -> None:
        super().__init__(vocabulary, lowercase=False, normalization=None)
        self._proto = proto
        self._surfaces = _surfaces(proto, self._vocabulary)
        # A sorted array in place of a table, whose resource an export would have to initialize.
        tokens = tf.constant(self._vocabulary[len(SPECIALS) :])
        hashes = _hash(tokens).numpy()
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._ids = (order + len(SPECIALS)).astype("int32")

    @classmethod
    def _read(cls, content: bytes, config: dict) -> "MarianTokenizer":
        return cls(content, **config)

    def _write(self) -> bytes:
        return self._proto

    def _split(self, strings: tf.Tensor) -> tf.RaggedTensor:
        # ">>fra<< A text" is the code ">>fra<<" and the text " A text".
        has_code = tf.strings.regex_full_match(strings, ">>.*<<.*")
        codes = tf.strings.regex_replace(strings, "^(>>.*?<<).*$", r"\1")
        strings = tf.strings.regex_replace(strings, "^>>.*?<<", "")
        codes = tf.ragged.boolean_mask(tf.expand_dims(codes, 1), tf.expand_dims(has_code, 1))
        # Made anew for each call or graph, as in `SentencePieceTokenizer`.
        pieces = tf_text.SentencepieceTokenizer(self._proto, out_type=tf.string).tokenize(strings)
        tokens = tf.concat([codes, pieces], axis=1)  # (B, None)
        return tokens.with_values(self._look_up(tokens.values))

    def _look_up(self, tokens: tf.Tensor) -> tf.Tensor:
        hashes = _hash(tokens)
        places = tf.searchsorted(self._hashes, hashes)
        places = tf.minimum(places, len(self._hashes) - 1)
        known = tf.gather(self._hashes, places) == hashes
        return tf.where(known, tf.gather(self._ids, places), UNKNOWN)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        text = tf.strings.reduce_join(tf.gather(tf.constant(self._surfaces), ids), axis=1)
        # Pieces that are bytes need not come together as UTF-8.
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
        return tf.strings.strip(tf.strings.regex_replace(text, "▁", " "))

    def get_config(self) -> dict:
        return {"vocabulary": self.vocabulary}


def _hash(tokens: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(tokens, BUCKETS)


def _surfaces(proto: bytes, vocabulary: Sequence[str]) -> list[bytes]:
    """What each token is in a text."""
    model = processor_of(proto)

    def surface(token):
        id = model.piece_to_id(token)  # of [UNK] where there is no such piece
        if model.is_byte(id):  # "<0xE4>"
            return bytes([int(token[1:-1], 16)])
        return b"" if model.is_control(id) else token.encode("utf-8")

    return [b""] * len(SPECIALS) + [surface(token) for token in vocabulary[len(SPECIALS) :]]
