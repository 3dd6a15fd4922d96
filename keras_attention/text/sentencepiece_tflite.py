"""SentencePiece by operations that TFLite has, for strings in an exported file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from keras_attention.ops.ids import PAD
from keras_attention.text.rows import is_text
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.lazy_tensorflow import tf, tf_text

UNKNOWN_PENALTY = 10.0  # of an unknown character in SentencePiece


class TFLiteSentencePiece(Tokenizer):
    """SentencePiece tokenizer of operations that TFLite has, with the results of another one.

    Text is split by tensorflow-text's `FastSentencepieceTokenizer`. The pieces are read from a
    table and joined, since the operation `FastSentencepieceDetokenize` crashes in LiteRT for more
    than one text.

    Args:
        tokenizer: The other tokenizer.
        proto: Its SentencePiece model, one that `can_split` accepts.
        ids: For each piece of the model its id in the vocabulary.
        surfaces: For each id its text.
        leading_surfaces: For each id its text at the beginning of a text.
        strip_end: Whether tokens of spaces at the end of a text are left out.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        proto: bytes,
        ids: Sequence[int],
        surfaces: Sequence[bytes],
        leading_surfaces: Sequence[bytes],
        strip_end: bool = False,
    ) -> None:
        super().__init__(tokenizer.vocabulary, tokenizer.lowercase, tokenizer.normalization)
        self._model = tf_text.FastSentencepieceTokenizer(proto)
        self._ids = np.array(ids, "int32")
        self._surfaces = [*surfaces, *leading_surfaces]
        self._is_written = np.array([surface != b"" for surface in leading_surfaces], "int32")
        self._is_visible = np.array([surface.strip() != b"" for surface in surfaces], "int32")
        self.strip_end = strip_end

    def _split(self, strings: tf.Tensor) -> tf.RaggedTensor:
        pieces = self._model.tokenize(strings)
        return pieces.with_values(tf.gather(self._ids, pieces.values))

    def detokenize(self, ids: tf.Tensor) -> tf.Tensor:
        """Converts ids to text as the other tokenizer does, in a graph that TFLite runs.

        TensorFlow's own kernel of the operation that joins strings crashes.

        Args:
            ids: int32 tensor of shape `(B, T)`, of which T is static.

        Returns:
            Strings of shape `(B,)`.
        """
        ids = tf.where(is_text(ids), ids, PAD)  # (B, T)
        if self.strip_end:
            remaining = tf.cumsum(tf.gather(self._is_visible, ids), axis=1, reverse=True)
            ids = tf.where(remaining > 0, ids, PAD)
        written = tf.cumsum(tf.gather(self._is_written, ids), axis=1, exclusive=True)
        rows = tf.where(written == 0, ids + self.vocabulary_size, ids)
        texts = tf.gather(tf.constant(self._surfaces), rows)
        # TFLite has no operation that joins the strings of a row but that of n-grams.
        join = tf_text.Reduction.STRING_JOIN
        return tf_text.ngrams(texts, ids.shape[1], reduction_type=join, string_separator="")[:, 0]


def can_split(proto: bytes) -> bool:
    """Returns whether TFLite's operation splits texts as a SentencePiece model does.

    It knows models of the types unigram and char, without pieces of bytes or of the user's own. A
    model that keeps spaces at the beginning of a text, but one, is not supported either.
    """
    model, piece = ModelProto.FromString(proto), ModelProto.SentencePiece
    types = {model.trainer_spec.UNIGRAM, model.trainer_spec.CHAR}
    piece_types = {piece.NORMAL, piece.UNKNOWN, piece.CONTROL}
    spec = model.normalizer_spec
    return (
        model.trainer_spec.model_type in types
        and {each.type for each in model.pieces} <= piece_types
        and (spec.remove_extra_whitespaces or not spec.add_dummy_prefix)
    )


def piece_surfaces(proto: bytes) -> tuple[list[bytes], list[bytes]]:
    """Returns the text of each piece of a model, and its text at the beginning of a text."""
    model, piece = ModelProto.FromString(proto), ModelProto.SentencePiece
    spec = model.normalizer_spec
    strips = spec.add_dummy_prefix or spec.remove_extra_whitespaces

    def surface(each, leading):
        if each.type == piece.CONTROL:
            return b""
        if each.type == piece.UNKNOWN:
            return model.trainer_spec.unk_surface.encode("utf-8")
        text = each.piece.removeprefix("▁") if leading and strips else each.piece
        return text.replace("▁", " ").encode("utf-8")

    leading, others = ([surface(each, x) for each in model.pieces] for x in (True, False))
    return others, leading


def add_characters(proto: bytes, tokens: Sequence[str]) -> bytes:
    """Returns a model with those single characters that it does not know as pieces.

    They are split off at the cost of an unknown character, so that they have ids of their own and
    all other pieces stay.
    """
    model = ModelProto.FromString(proto)
    pieces = {each.piece for each in model.pieces}
    normal = [each.score for each in model.pieces if each.type == each.NORMAL]
    for token in tokens:
        if len(token) == 1 and token not in pieces:
            model.pieces.add(piece=token, score=min(normal) - UNKNOWN_PENALTY)
    return model.SerializeToString()
