"""SentencePiece tokenizers: subword pieces of raw text, and single characters."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from keras_attention.ops.ids import END, PAD, SPECIALS, START, UNKNOWN
from keras_attention.text.files import PathLike
from keras_attention.text.normalization import training_lines
from keras_attention.text.sentencepiece_tflite import (
    TFLiteSentencePiece,
    can_split,
    piece_surfaces,
)
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.utils.lazy_tensorflow import tf, tf_text


class SentencePieceTokenizer(Tokenizer):
    """SentencePiece tokenizer (Kudo and Richardson, 2018).

    A space is written "▁" (U+2581) and belongs to the piece that follows it, so that joining the
    pieces restores the text, except for spaces at its ends and repeated spaces. A "▁" in the text
    comes back as a space. Characters that did not occur in the training text become `[UNK]`.

    The model is learned by the `sentencepiece` library, which also splits lists of texts. In a
    graph, text is split by tensorflow-text's `SentencepieceTokenizer`.

    Args:
        proto: Serialized SentencePiece model with pad, bos, eos and unk at ids 0 to 3.
        lowercase: Whether to lower-case text.
        normalization: `"NFC"`, `"NFKC"` or `None`.

    Raises:
        ValueError: If `proto` is not a SentencePiece model with these ids.

    Example:

    >>> lines = ["ein hund läuft", "zwei hunde laufen", "ein hund schläft"]
    >>> tokenizer = SentencePieceTokenizer.train(lines, vocabulary_size=40, model_type="bpe")
    >>> tokenizer.detokenize(tokenizer.encode(["zwei hunde", "ein hund läuft"])).numpy()[0]
    b'zwei hunde'
    """

    vocabulary_file = "sentencepiece.model"

    def __init__(
        self, proto: bytes, lowercase: bool = False, normalization: str | None = "NFC"
    ) -> None:
        self._processor = load_processor(proto)
        super().__init__(_read_pieces(self._processor), lowercase, normalization)
        self._proto = proto

    @classmethod
    def train(
        cls,
        source: PathLike | Iterable[str],
        vocabulary_size: int,
        lowercase: bool = False,
        normalization: str | None = "NFC",
        model_type: str = "unigram",
    ) -> SentencePieceTokenizer:
        """Learns a vocabulary, deterministically.

        Args:
            source: A file (UTF-8, `.gz` allowed), a list of files, or an iterable of lines. Files
                of two languages give a joint vocabulary.
            vocabulary_size: Maximum number of tokens, including the special ones. Fewer are learned
                from little text.
            lowercase: Whether to lower-case text.
            normalization: `"NFC"`, `"NFKC"` or `None`.
            model_type: `"unigram"` (Kudo, 2018) or `"bpe"` (Sennrich et al., 2016).

        Returns:
            A `SentencePieceTokenizer`.

        Raises:
            ValueError: If there is no text, `vocabulary_size` is too small for its characters, or
                `model_type` is unknown.
        """
        if model_type not in ("unigram", "bpe"):
            raise ValueError(
                f"`model_type` must be 'unigram' or 'bpe'. Received: model_type={model_type!r}"
            )
        lines = training_lines(source, lowercase, normalization)
        proto = _learn(lines, model_type, vocabulary_size, hard_vocab_limit=False)
        return cls(proto, lowercase, normalization)

    @classmethod
    def _read(cls, content: bytes, config: dict) -> SentencePieceTokenizer:
        return cls(content, **config)

    def _write(self) -> bytes:
        return self._proto

    @property
    def proto(self) -> bytes:
        """Serialized SentencePiece model."""
        return self._proto

    def for_tflite(self) -> Tokenizer | None:
        """Returns a tokenizer of operations that TFLite has, for models of type unigram and char.

        TFLite lacks the operations for other models; then the result is `None`.
        """
        if not can_split(self._proto):
            return None
        return TFLiteSentencePiece(self, *self.pieces(), *piece_surfaces(self._proto))

    def pieces(self) -> tuple[bytes, list[int]]:
        """Returns the SentencePiece model, and for each of its pieces the id in the vocabulary."""
        return self._proto, list(range(self.vocabulary_size))

    def _split(self, strings: tf.Tensor) -> tf.RaggedTensor:
        return self._runtime().tokenize(strings)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        return self._runtime().detokenize(ids)

    def _split_to_lists(self, texts: list[str]) -> list[list[int]]:
        return self._processor.encode(texts)

    def _join_to_texts(self, rows: list[list[int]]) -> list[str]:
        return self._processor.decode(rows) if rows else []

    def _runtime(self) -> tf_text.SentencepieceTokenizer:
        # Created in each call or graph: its resource is destroyed when
        # `keras.utils.set_random_seed` resets TensorFlow's kernels. TensorFlow caches the kernel.
        return tf_text.SentencepieceTokenizer(self._proto, out_type=tf.int32)


class CharacterTokenizer(SentencePieceTokenizer):
    """Character tokenizer: a SentencePiece model of type "char" that preserves all spaces.

    If all characters of a text are in the vocabulary, `detokenize` restores it exactly, with tabs
    and line breaks as spaces. A run of unknown characters becomes one `[UNK]`.

    Args:
        proto: Serialized SentencePiece model with pad, bos, eos and unk at ids 0 to 3.
        lowercase: Whether to lower-case text.
        normalization: `"NFC"`, `"NFKC"` or `None`.

    Raises:
        ValueError: If `proto` is not a SentencePiece model with these ids.

    Example:

    >>> tokenizer = CharacterTokenizer.train(["abba"])
    >>> tokenizer.vocabulary
    ['[PAD]', '[START]', '[END]', '[UNK]', 'a', 'b']
    >>> tokenizer.encode(["ba", ""]).numpy().tolist()
    [[5, 4, 2], [2, 0, 0]]
    """

    @classmethod
    def train(  # type: ignore[override]  # it has one model type
        cls,
        source: PathLike | Iterable[str],
        vocabulary_size: int | None = None,
        lowercase: bool = False,
        normalization: str | None = "NFC",
    ) -> CharacterTokenizer:
        """Learns the characters of a text.

        Args:
            source: A file (UTF-8, `.gz` allowed), a list of files, or an iterable of lines.
            vocabulary_size: Maximum number of tokens, including the special ones; the rarest
                characters are left out. `None` sets no limit.
            lowercase: Whether to lower-case text.
            normalization: `"NFC"`, `"NFKC"` or `None`.

        Returns:
            A `CharacterTokenizer`.

        Raises:
            ValueError: If there is no text.
        """
        lines = training_lines(source, lowercase, normalization)
        proto = _learn(
            lines,
            "char",
            vocabulary_size or 2**20,
            hard_vocab_limit=False,
            use_all_vocab=vocabulary_size is None,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
        )
        return cls(proto, lowercase, normalization)


def _learn(lines: list[str], model_type: str, vocabulary_size: int, **options) -> bytes:
    """Trains a SentencePiece model and returns it serialized."""
    ids = {"pad": PAD, "bos": START, "eos": END, "unk": UNKNOWN}
    specials: dict[str, Any] = {f"{name}_id": id for name, id in ids.items()}
    specials |= {f"{name}_piece": SPECIALS[id] for name, id in ids.items()}
    model = io.BytesIO()
    # The text is already normalized. The single rule (tab to space) avoids the line that the
    # runtime logs for each model without rules.
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder, "rules.tsv")
        rules.write_text("9\t20\n")
        try:
            SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type=model_type,
                vocab_size=vocabulary_size,
                unk_surface=SPECIALS[UNKNOWN],
                character_coverage=1.0,
                normalization_rule_tsv=str(rules),
                max_sentence_length=1 << 20,
                num_threads=1,
                minloglevel=2,
                **specials,
                **options,
            )
        except RuntimeError as error:
            raise ValueError(
                "SentencePiece cannot learn a vocabulary of this size from this text "
                f"({error}). Received: vocabulary_size={vocabulary_size}"
            ) from None
    proto = ModelProto.FromString(model.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # a path; the rules are compiled in
    return proto.SerializeToString(deterministic=True)


def load_processor(proto: bytes) -> SentencePieceProcessor:
    """Loads a serialized model with the sentencepiece library.

    Raises:
        ValueError: If the model is damaged. One in which a character is a control symbol is, too:
            TensorFlow Text fails on a text with this character.
    """
    try:
        model = SentencePieceProcessor(model_proto=proto)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"`proto` must be a serialized SentencePiece model. Received: proto[:20]={proto[:20]!r}"
        ) from None
    for id in range(model.vocab_size()):
        if model.is_control(id) and len(model.id_to_piece(id)) == 1:
            raise ValueError(
                "No character may be a control symbol of `proto`. "
                f"Received: {model.id_to_piece(id)!r}"
            )
    return model


def _read_pieces(model: SentencePieceProcessor) -> list[str]:
    ids = (model.pad_id(), model.bos_id(), model.eos_id(), model.unk_id())
    if ids != (PAD, START, END, UNKNOWN):
        raise ValueError(
            f"`proto` must have pad, bos, eos and unk at ids {(PAD, START, END, UNKNOWN)}. "
            f"Received: {ids}"
        )
    return [model.id_to_piece(id) for id in range(model.vocab_size())]
