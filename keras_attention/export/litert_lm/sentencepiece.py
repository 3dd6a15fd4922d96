"""SentencePiece models that normalize text as this library's tokenizers do before they split it."""

import functools
import io
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from sentencepiece import SentencePieceTrainer
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from keras_attention.text import SentencePieceTokenizer

SPACES = dict.fromkeys("\t\n\f\r", " ")
NUM_CHARACTERS, SURROGATES = 0x110000, range(0xD800, 0xE000)


def embed_normalization(tokenizer: SentencePieceTokenizer) -> bytes:
    """Returns a serialized SentencePiece model that encodes text as the tokenizer does.

    The rules of a model, which replace character sequences, become those of the tokenizer: spaces,
    lower case, and the Unicode normal form of a character with its combining marks in canonical
    order. A model with rules of its own keeps them.

    Args:
        tokenizer: a tokenizer that `has_own_rules` or is not lower-casing.
    """
    model = ModelProto.FromString(tokenizer.proto)
    if has_own_rules(tokenizer):
        return tokenizer.proto
    known = {character for piece in model.pieces for character in piece.piece}
    rules = dict(list_rules(tokenizer.normalization, tokenizer.lowercase, known)) | SPACES
    spec = model.normalizer_spec
    spec.name, spec.precompiled_charsmap = "user_defined", compile_rules(rules)
    return model.SerializeToString(deterministic=True)


def has_own_rules(tokenizer: SentencePieceTokenizer) -> bool:
    """Returns True if the SentencePiece model replaces more than tabs, which this library's do."""
    rules = ModelProto.FromString(tokenizer.proto).normalizer_spec.precompiled_charsmap
    return rules not in (b"", compile_rules({"\t": " "}))


def list_rules(
    normalization: str | None, lowercase: bool, known: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yields the character sequences that normalization replaces, each with its replacement.

    Args:
        normalization: `"NFC"`, `"NFKC"` or `None`.
        lowercase: whether to lower-case text.
        known: sequences without one of these characters, before and after, are left out.
    """
    known = frozenset(known)

    def normalize(text: str) -> str:
        if normalization:
            text = unicodedata.normalize(normalization, text)  # type: ignore[arg-type]  # a str
        return text.lower() if lowercase else text

    for code in range(1, NUM_CHARACTERS):
        if code in SURROGATES:
            continue
        character = chr(code)
        for sequence in {character, *_decompositions(character, normalization)}:
            replacement = normalize(sequence)
            if replacement != sequence and known & {*sequence, *replacement}:
                yield sequence, replacement


def _decompositions(character, normalization):
    """Returns the canonical decompositions of a character: into all characters, and into two."""
    decomposed = unicodedata.normalize("NFD", character) if normalization else character
    return decomposed, unicodedata.normalize("NFC", decomposed[:-1]) + decomposed[-1]


def compile_rules(rules: dict[str, str]) -> bytes:
    """Returns replacement rules in the form in which a SentencePiece model holds them."""
    return _compile(tuple(sorted(rules.items())))


@functools.lru_cache(maxsize=4)
def _compile(rules):
    def codes(text):
        return " ".join(f"{ord(character):X}" for character in text)

    lines = (f"{codes(old)}\t{codes(new)}\n" for old, new in rules)
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rules.tsv")
        file.write_text("".join(lines), encoding="ascii")
        # The library compiles rules only while it trains a model.
        SentencePieceTrainer.train(
            sentence_iterator=iter(["a"]),
            model_writer=model,
            model_type="char",
            vocab_size=8,
            hard_vocab_limit=False,
            normalization_rule_tsv=str(file),
            minloglevel=2,
        )
    return ModelProto.FromString(model.getvalue()).normalizer_spec.precompiled_charsmap
