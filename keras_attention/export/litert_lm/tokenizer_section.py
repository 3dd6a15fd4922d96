"""The tokenizer in a `.litertlm` file: a SentencePiece model, or a `tokenizer.json`."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as FastTokenizer

from keras_attention.export.litert_lm.sentencepiece import embed_normalization
from keras_attention.export.verification.compare import ExportError
from keras_attention.export.wordpiece_json import wordpiece_json
from keras_attention.text import (
    CharacterTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordPieceTokenizer,
)

SENTENCEPIECE, HUGGING_FACE = "sentencepiece.model", "tokenizer.json"  # names of files
WRITERS: dict[type[Tokenizer], tuple[str, Callable]] = {
    SentencePieceTokenizer: (SENTENCEPIECE, embed_normalization),
    CharacterTokenizer: (SENTENCEPIECE, embed_normalization),
    WordPieceTokenizer: (HUGGING_FACE, wordpiece_json),
}


class TokenizerSection(NamedTuple):
    """A tokenizer for LiteRT-LM.

    Attributes:
        kind: `SENTENCEPIECE` or `HUGGING_FACE`.
        content: of the file.
    """

    kind: str
    content: bytes

    def load(self) -> Callable[[str], list[int]]:
        """Returns a function from a text to ids without special ones."""
        if self.kind == SENTENCEPIECE:
            return SentencePieceProcessor(model_proto=self.content).encode
        fast = FastTokenizer.from_str(self.content.decode("utf-8"))
        return lambda text: fast.encode(text).ids


def make_section(tokenizer: Tokenizer) -> TokenizerSection:
    """Returns a tokenizer of a class in `WRITERS` in the form that LiteRT-LM reads."""
    kind, write = WRITERS[type(tokenizer)]
    return TokenizerSection(kind, write(tokenizer))


def compare_tokenizers(
    section: TokenizerSection, tokenizer: Tokenizer, samples: Iterable[str]
) -> None:
    """Compares the ids of the tokenizer of an export with those of the task's.

    Args:
        section: the tokenizer of the export.
        tokenizer: the tokenizer of the task.
        samples: texts. Null characters, which end a text in LiteRT-LM, are left out.

    Raises:
        ExportError: If they differ.
    """
    encode = section.load()
    for sample in samples:
        text = sample.replace("\0", "")
        received = encode(text)
        (expected,) = tokenizer.tokenize_to_lists([text])
        if received != expected:
            raise ExportError(
                f"The tokenizer of the export must return what the task's returns for {text!r}: "
                f"{expected}. Received: {received}"
            )
