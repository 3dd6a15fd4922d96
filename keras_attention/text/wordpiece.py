"""WordPiece tokenizer: each word is split into the longest matching pieces."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, cached_property

from keras_attention.ops.ids import SPECIALS, UNKNOWN
from keras_attention.text.files import PathLike
from keras_attention.text.normalization import training_lines
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.lazy_tensorflow import tf, tf_text

INSIDE = "##"  # begins a piece inside a word
MAX_WORD_BYTES = 100
MAX_PIECE_BYTES = 256
# Unicode's property White_Space, and the null character, which `normalize` replaces by a space.
SPACES = frozenset(
    "\0\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    + "".join(map(chr, range(0x2000, 0x200B)))
)
# The blocks of ideographs that BERT splits.
CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPieceTokenizer(Tokenizer):
    """WordPiece tokenizer (Schuster and Nakajima, 2012; BERT's form, Devlin et al., 2018).

    Text is split at white space, punctuation and Chinese characters. Each word is then split from
    left to right into the longest matching pieces of the vocabulary; pieces inside a word begin
    with "##". A word that cannot be split becomes `[UNK]`. `detokenize` joins words with single
    spaces: "Hello, world" becomes "Hello , world".

    The vocabulary is learned by tensorflow-text's `bert_vocab_from_dataset`, and tensors of text
    are split by its `FastWordpieceTokenizer`. Words of more than 100 bytes become `[UNK]`.

    Args:
        vocabulary: The pieces, beginning with `[PAD]`, `[START]`, `[END]`, `[UNK]`.
        lowercase: Whether to lower-case text.
        normalization: `"NFC"`, `"NFKC"` or `None`.

    Raises:
        ValueError: If the vocabulary does not begin with the special tokens, contains no other
            tokens, a token twice, or a piece with white space or of more than 256 bytes.

    Example:

    >>> tokenizer = WordPieceTokenizer(["[PAD]", "[START]", "[END]", "[UNK]", "sing", "##ing", "!"])
    >>> tokenizer.encode(["singing!", "sing"]).numpy().tolist()
    [[4, 5, 6, 2], [4, 2, 0, 0]]
    >>> tokenizer.detokenize([[4, 5, 6, 2]]).numpy().tolist()
    [b'singing !']
    """

    vocabulary_file = "vocabulary.txt"

    def __init__(
        self,
        vocabulary: Sequence[str],
        lowercase: bool = False,
        normalization: str | None = "NFC",
    ) -> None:
        super().__init__(vocabulary, lowercase, normalization)
        for piece in self._vocabulary:
            if SPACES.intersection(piece):
                raise ValueError(
                    "`vocabulary` must contain pieces of words, which have no white space. "
                    f"Received: {piece!r}"
                )
            if len(piece.removeprefix(INSIDE).encode("utf-8")) > MAX_PIECE_BYTES:
                raise ValueError(
                    f"`vocabulary` must contain pieces of up to {MAX_PIECE_BYTES} bytes. "
                    f"Received: {piece!r}"
                )

    @classmethod
    def train(
        cls,
        source: PathLike | Iterable[str],
        vocabulary_size: int,
        lowercase: bool = False,
        normalization: str | None = "NFC",
    ) -> WordPieceTokenizer:
        """Learns a vocabulary, in about half a minute for 60,000 sentences.

        Args:
            source: A file (UTF-8, `.gz` allowed), a list of files, or an iterable of lines. Files
                of two languages give a joint vocabulary.
            vocabulary_size: Maximum number of tokens, including the special ones. Usually a few
                percent fewer are learned, and many fewer from little text.
            lowercase: Whether to lower-case text.
            normalization: `"NFC"`, `"NFKC"` or `None`.

        Returns:
            A `WordPieceTokenizer`.

        Raises:
            ValueError: If there is no text, or `vocabulary_size` is too small for its characters.
        """
        from tensorflow_text.tools.wordpiece_vocab.bert_vocab_from_dataset import (
            bert_vocab_from_dataset,
        )

        lines = training_lines(source, lowercase, normalization)
        # No threshold above this count can fill the vocabulary; the bound halves the search.
        upper_threshold = sum(map(len, lines)) // max(1, vocabulary_size) + 2
        vocabulary = bert_vocab_from_dataset(
            tf.data.Dataset.from_tensor_slices(lines).batch(1000),
            vocabulary_size,
            list(SPECIALS),
            bert_tokenizer_params={"lower_case": False},
            learn_params={"lower_thresh": 2, "upper_thresh": upper_threshold},
        )
        return cls(_drop_rarest(vocabulary, vocabulary_size), lowercase, normalization)

    @classmethod
    def _read(cls, content: bytes, config: dict) -> WordPieceTokenizer:
        return cls(content.decode("utf-8").removesuffix("\n").split("\n"), **config)

    def _write(self) -> bytes:
        return "".join(f"{token}\n" for token in self._vocabulary).encode("utf-8")

    def for_tflite(self) -> WordPieceTokenizer:
        return self

    def _split(self, strings: tf.Tensor) -> tf.RaggedTensor:
        return self._runtime.tokenize(strings)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        return self._runtime.detokenize(ids)

    def _split_to_lists(self, texts: list[str]) -> list[list[int]]:
        return [[id for word in _words(text) for id in self._pieces(word)] for text in texts]

    def _join_to_texts(self, rows: list[list[int]]) -> list[str]:
        # The first piece keeps "##" if the text begins inside a word.
        texts = (" ".join([self._vocabulary[id] for id in row]) for row in rows)
        return [text.replace(f" {INSIDE}", "") for text in texts]

    @cached_property
    def _runtime(self) -> tf_text.FastWordpieceTokenizer:
        with tf.init_scope():  # its tensor is used outside of the graph that is traced first, too
            return tf_text.FastWordpieceTokenizer(
                self.vocabulary,
                max_bytes_per_word=MAX_WORD_BYTES,
                token_out_type=tf.int32,
                support_detokenization=True,
            )

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {piece: id for id, piece in enumerate(self._vocabulary)}

    def _pieces(self, word: str) -> list[int]:
        """Returns the ids of a word, from left to right those of the longest matching pieces."""
        if len(word.encode("utf-8")) > MAX_WORD_BYTES:
            return [UNKNOWN]
        ids: list[int] = []
        start = 0
        while start < len(word):
            prefix = INSIDE if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._ids), None)
            if end is None:
                return [UNKNOWN]
            ids.append(self._ids[prefix + word[start:end]])
            start = end
        return ids


def _words(text: str) -> list[str]:
    """Splits a text at white space, punctuation and Chinese characters, as BERT does."""
    return [word for word in "".join(map(_separated, text)).split(" ") if word]


@cache
def _separated(character: str) -> str:
    """Returns a character, between spaces if it is a word by itself; a space for white space."""
    if character in SPACES:
        return " "
    code = ord(character)
    is_word = (
        unicodedata.category(character).startswith("P")
        or character in "$+<=>^`|~"  # the symbols of ASCII
        or any(first <= code <= last for first, last in CHINESE)
    )
    return f" {character} " if is_word else character


def _drop_rarest(vocabulary: list[str], size: int) -> list[str]:
    """Drops the rarest multi-character pieces, as the learner only approximates the size."""
    pieces = [token for token in vocabulary[4:] if len(token.removeprefix("##")) > 1]
    excess = max(0, len(vocabulary) - size)
    if excess > len(pieces):
        raise ValueError(
            "`vocabulary_size` must hold the special tokens and every character twice, at the "
            f"start of words and inside them: at least {len(vocabulary) - len(pieces)}. "
            f"Received: vocabulary_size={size}"
        )
    dropped = set(pieces[len(pieces) - excess :])
    return [token for token in vocabulary if token not in dropped]
