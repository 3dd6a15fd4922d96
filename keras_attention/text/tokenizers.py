"""Loading of saved tokenizers of any class."""

import json
from pathlib import Path

from keras_attention.text.files import PathLike
from keras_attention.text.marian import MarianTokenizer
from keras_attention.text.sentencepiece import CharacterTokenizer, SentencePieceTokenizer
from keras_attention.text.tokenizer import CONFIG_FILE, Tokenizer
from keras_attention.text.wordpiece import WordPieceTokenizer

TOKENIZERS = {
    each.__name__: each
    for each in (WordPieceTokenizer, SentencePieceTokenizer, CharacterTokenizer, MarianTokenizer)
}


def load_tokenizer(folder: PathLike) -> Tokenizer:
    """Loads a tokenizer written by `Tokenizer.save`.

    Args:
        folder: Folder of the tokenizer.

    Returns:
        A tokenizer of the saved class, with the same vocabulary and options.

    Raises:
        ValueError: If the folder contains no tokenizer, or one of an unknown class.
    """
    folder = Path(folder)
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"`folder` must contain {CONFIG_FILE}. Received: folder={str(folder)!r}")
    saved = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if saved["class_name"] not in TOKENIZERS:
        raise ValueError(
            f"`class_name` in {CONFIG_FILE} must be one of {sorted(TOKENIZERS)}. "
            f"Received: class_name={saved['class_name']!r}"
        )
    tokenizer_class = TOKENIZERS[saved["class_name"]]
    content = (folder / tokenizer_class.vocabulary_file).read_bytes()
    return tokenizer_class._read(content, saved["config"])
