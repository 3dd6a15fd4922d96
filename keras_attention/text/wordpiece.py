"""WordPiece tokenizer: each word is split into the longest matching pieces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keras_attention.ops.ids import SPECIALS
from keras_attention.text.files import PathLike
from keras_attention.text.normalization import training_lines
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.lazy_tensorflow import tf, tf_text


class WordPieceTokenizer(Tokenizer):
    """WordPiece tokenizer (Schuster and Nakajima, 2012; BERT's form, Devlin et al., 2018).

    Text is split at white space, punctuation and Chinese characters. Each word is then split from
    left to right into the longest matching pieces of the vocabulary; pieces inside a word begin
    with "##". A word that cannot be split becomes `[UNK]`. `detokenize` joins words with single
    spaces: "Hello, world" becomes "Hello , world".

    The vocabulary is learned by tensorflow-text's `bert_vocab_from_dataset`, and text is split by
    its `FastWordpieceTokenizer`.

    Args:
        vocabulary: The pieces, beginning with `[PAD]`, `[START]`, `[END]`, `[UNK]`.
        lowercase: Whether to lower-case text.
        normalization: `"NFC"`, `"NFKC"` or `None`.

    Raises:
        ValueError: If the vocabulary does not begin with the special tokens, contains no other
            tokens, or contains a token twice.

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
        self._model = tf_text.FastWordpieceTokenizer(
            self.vocabulary, token_out_type=tf.int32, support_detokenization=True
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
        return self._model.tokenize(strings)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        return self._model.detokenize(ids)


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
