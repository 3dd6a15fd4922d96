"""SentencePiece: pieces of raw text, spaces included; and its form with single characters."""

import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_attention.ops.ids import END, PAD, SPECIALS, START, UNKNOWN
from keras_attention.text.files import PathLike
from keras_attention.text.tokenizer import Tokenizer, training_lines


class SentencePieceTokenizer(Tokenizer):
    """SentencePiece tokenizer (Kudo and Richardson, 2018).

    Text is taken as it stands; a space is written "▁" and belongs to the piece that follows it,
    so that joining pieces gives the text back: all of it but for spaces at the ends and for the
    second and later of several spaces. Characters that were not in the text learned from become
    `[UNK]`.

    Learned by the `sentencepiece` library, run by tensorflow-text's `SentencepieceTokenizer`.

    Args:
        proto: The serialized SentencePiece model, with pad, bos, eos and unk at ids 0 to 3.
        lowercase: Whether text is lower-cased.
        normalization: `"NFC"`, `"NFKC"` or `None`.

    Raises:
        ValueError: if `proto` is no SentencePiece model with these ids.

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
        super().__init__(_pieces_of(proto), lowercase, normalization)
        self._proto = proto

    @classmethod
    def train(
        cls,
        source: PathLike | Iterable[str],
        vocabulary_size: int,
        lowercase: bool = False,
        normalization: str | None = "NFC",
        model_type: str = "unigram",
    ) -> "SentencePieceTokenizer":
        """Learns a vocabulary. The same text gives the same vocabulary.

        Args:
            source: A file (UTF-8, `.gz` allowed), a list of files, or an iterable of lines. Files
                of two languages give a joint vocabulary.
            vocabulary_size: The most tokens, special ones included. Fewer are learned from small
                text.
            lowercase: Whether text is lower-cased.
            normalization: `"NFC"`, `"NFKC"` or `None`.
            model_type: `"unigram"` (Kudo, 2018) or `"bpe"` (Sennrich et al., 2016).

        Returns:
            A `SentencePieceTokenizer`.

        Raises:
            ValueError: if there is no text, no room for its characters, or an unknown
                `model_type`.
        """
        if model_type not in ("unigram", "bpe"):
            raise ValueError(f"`model_type` should be 'unigram' or 'bpe'. Received: {model_type!r}")
        lines = training_lines(source, lowercase, normalization)
        proto = _learn(lines, model_type, vocabulary_size, hard_vocab_limit=False)
        return cls(proto, lowercase, normalization)

    @classmethod
    def _read(cls, content: bytes, config: dict) -> "SentencePieceTokenizer":
        return cls(content, **config)

    def _write(self) -> bytes:
        return self._proto

    def _split(self, strings: tf.Tensor) -> tf.RaggedTensor:
        return self._runtime().tokenize(strings)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        return self._runtime().detokenize(ids)

    def _runtime(self) -> tf_text.SentencepieceTokenizer:
        # Made anew for each call or graph: its resource belongs to a kernel and dies when
        # `keras.utils.set_random_seed` resets TensorFlow's. TensorFlow caches the kernel.
        return tf_text.SentencepieceTokenizer(self._proto, out_type=tf.int32)


class CharacterTokenizer(SentencePieceTokenizer):
    """Single characters: a SentencePiece model of type "char" that keeps every space.

    Text whose characters are all in the vocabulary comes back as it was, spaces at the ends and
    several spaces included (tabs and line breaks as spaces). A run of unknown characters is one
    `[UNK]`.

    Args:
        proto: The serialized SentencePiece model, with pad, bos, eos and unk at ids 0 to 3.
        lowercase: Whether text is lower-cased.
        normalization: `"NFC"`, `"NFKC"` or `None`.

    Raises:
        ValueError: if `proto` is no SentencePiece model with these ids.

    Example:

    >>> tokenizer = CharacterTokenizer.train(["abba"])
    >>> tokenizer.vocabulary
    ['[PAD]', '[START]', '[END]', '[UNK]', 'a', 'b']
    >>> tokenizer.encode(["ba", ""]).numpy().tolist()
    [[5, 4, 2], [2, 0, 0]]
    """

    @classmethod
    def train(
        cls,
        source: PathLike | Iterable[str],
        vocabulary_size: int | None = None,
        lowercase: bool = False,
        normalization: str | None = "NFC",
    ) -> "CharacterTokenizer":
        """Learns the characters of a text.

        Args:
            source: A file (UTF-8, `.gz` allowed), a list of files, or an iterable of lines.
            vocabulary_size: The most tokens, special ones included; the rarest characters are
                left out. `None` keeps all.
            lowercase: Whether text is lower-cased.
            normalization: `"NFC"`, `"NFKC"` or `None`.

        Returns:
            A `CharacterTokenizer`.

        Raises:
            ValueError: if there is no text.
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
    """Runs SentencePiece's trainer."""
    ids = {"pad": PAD, "bos": START, "eos": END, "unk": UNKNOWN}
    specials = {f"{name}_id": id for name, id in ids.items()}
    specials |= {f"{name}_piece": SPECIALS[id] for name, id in ids.items()}
    model = io.BytesIO()
    # Text is normalized before it comes here. One rule (a tab is a space) stands for no rules:
    # for a model without any, the runtime logs a line each time it starts.
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
                "SentencePiece could not learn a vocabulary of this size from this text "
                f"({error}). Received: vocabulary_size={vocabulary_size}"
            ) from None
    proto = ModelProto.FromString(model.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # the rules are in; this is a path
    return proto.SerializeToString(deterministic=True)


def processor_of(proto: bytes) -> SentencePieceProcessor:
    """The model by SentencePiece's own library, which answers what it is made of."""
    try:
        return SentencePieceProcessor(model_proto=proto)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"`proto` should be a serialized SentencePiece model. Received: {proto[:20]!r}"
        ) from None


def _pieces_of(proto: bytes) -> list[str]:
    model = processor_of(proto)
    ids = (model.pad_id(), model.bos_id(), model.eos_id(), model.unk_id())
    if ids != (PAD, START, END, UNKNOWN):
        raise ValueError(
            f"`proto` should have pad, bos, eos and unk at ids {(PAD, START, END, UNKNOWN)}. "
            f"Received: {ids}"
        )
    return [model.id_to_piece(id) for id in range(model.vocab_size())]
