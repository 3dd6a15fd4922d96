"""Reads back any tokenizer that was saved."""

import json
from pathlib import Path

from keras_attention.text.files import PathLike
from keras_attention.text.marian import MarianTokenizer
from keras_attention.text.sentencepiece import CharacterTokenizer, SentencePieceTokenizer
from keras_attention.text.tokenizer import CONFIG_FILE, Tokenizer
from keras_attention.text.wordpiece import WordPieceTokenizer

KINDS = {
    kind.__name__: kind
    for kind in (WordPieceTokenizer, SentencePieceTokenizer, CharacterTokenizer, MarianTokenizer)
}


def load_tokenizer(folder: PathLike) -> Tokenizer:
    """Reads a tokenizer that `Tokenizer.save` wrote.

    Args:
        folder: The folder it was saved to.

    Returns:
        A tokenizer of the class that was saved, with the same vocabulary and options.

    Raises:
        ValueError: if the folder holds no tokenizer, or one of a class that is not known.
    """
    folder = Path(folder)
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"Expected a folder with {CONFIG_FILE} in it. Received: {str(folder)!r}")
    saved = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if saved["class_name"] not in KINDS:
        raise ValueError(
            f"`class_name` in {CONFIG_FILE} should be one of {sorted(KINDS)}. "
            f"Received: {saved['class_name']!r}"
        )
    kind = KINDS[saved["class_name"]]
    return kind._read((folder / kind.vocabulary_file).read_bytes(), saved["config"])
