"""Loading of saved tokenizers of any class."""

from pathlib import Path

from keras_attention.text.files import PathLike
from keras_attention.text.marian import MarianTokenizer
from keras_attention.text.sentencepiece import CharacterTokenizer, SentencePieceTokenizer
from keras_attention.text.tokenizer import CONFIG_FILE, Tokenizer
from keras_attention.text.wordpiece import WordPieceTokenizer
from keras_attention.utils.atomic_io import read_json
from keras_attention.utils.reading import errors_name_file, read_bytes

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
        ValueError: If the folder contains no tokenizer, one of an unknown class, or damaged files.
    """
    folder = Path(folder)
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"`folder` must contain {CONFIG_FILE}. Received: folder={str(folder)!r}")
    saved = read_json(folder / CONFIG_FILE)
    class_name = saved.get("class_name")
    if not isinstance(class_name, str) or class_name not in TOKENIZERS:
        raise ValueError(
            f"`class_name` in {CONFIG_FILE} must be one of {sorted(TOKENIZERS)}. "
            f"Received: class_name={class_name!r}, folder={str(folder)!r}"
        )
    tokenizer_class = TOKENIZERS[class_name]
    content = read_bytes(folder / tokenizer_class.vocabulary_file, "tokenizer_bytes")
    with errors_name_file(folder, f"`folder` must hold a {class_name} written by `save`"):
        tokenizer = tokenizer_class._read(content, saved["config"])
        # A damaged model can be read and then fail on a text with one of its pieces.
        tokenizer.tokenize_to_lists(["".join(tokenizer.vocabulary)])
        return tokenizer
