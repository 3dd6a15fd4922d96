"""`tokenizer.json` of a WordPiece tokenizer."""

import json

from keras_attention.export.tokenizer_json import normalization_steps, replace
from keras_attention.ops.ids import SPECIALS, UNKNOWN
from keras_attention.text import WordPieceTokenizer
from keras_attention.text.wordpiece import INSIDE

MAX_WORD_LENGTH = 100  # characters; tensorflow-text's limit is 100 bytes


def wordpiece_json(tokenizer: WordPieceTokenizer) -> bytes:
    """Returns the contents of a `tokenizer.json` with the ids of a WordPiece tokenizer.

    It has no added tokens, so that a text that spells a special token does not get its id.
    """
    split_chinese_characters = {
        "type": "BertNormalizer",
        "clean_text": False,
        "handle_chinese_chars": True,
        "strip_accents": False,
        "lowercase": False,
    }
    steps = [*normalization_steps(tokenizer), split_chinese_characters]
    contents = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": _decoder(),
        "model": {
            "type": "WordPiece",
            "unk_token": SPECIALS[UNKNOWN],
            "continuing_subword_prefix": INSIDE,
            "max_input_chars_per_word": MAX_WORD_LENGTH,
            "vocab": {token: id for id, token in enumerate(tokenizer.vocabulary)},
        },
    }
    return json.dumps(contents, ensure_ascii=False).encode("utf-8")


def _decoder():
    """Returns the decoder; that of WordPiece leaves the mark of a text that begins in a word."""
    steps = [
        replace(rf"\A(?!{INSIDE})", " "),
        replace(rf"\A{INSIDE}", ""),
        {"type": "Fuse"},
        replace(r"\A ", ""),
    ]
    return {"type": "Sequence", "decoders": steps}
