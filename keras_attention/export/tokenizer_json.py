"""Parts of `tokenizer.json`, the format of Hugging Face's tokenizers, for several exports."""

from typing import Any

from keras_attention.text import Tokenizer


def replace(pattern: str, content: str) -> dict[str, Any]:
    """Returns a step, of a normalizer or a decoder, that replaces a regular expression."""
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def normalization_steps(tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Returns the steps of `Tokenizer.normalize`: plain spaces, normal form, lower case."""
    steps = [replace(r"[\t\n\f\r\x00]", " ")]
    if tokenizer.normalization:
        steps.append({"type": tokenizer.normalization})
    if tokenizer.lowercase:
        steps.append({"type": "Lowercase"})
    return steps
