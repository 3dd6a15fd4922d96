"""`tokenizer.json`, one tokenizer in the format of Hugging Face.

That of a translator serves source and target. Its ids are the target's, then the source's beyond
the special ones. If both have one vocabulary, these are the same ids. A token that text must not
become, as it is of the target only, has a mark in front of it, which is removed when ids are
decoded.
"""

import base64
import json
from typing import Any, NamedTuple

from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from keras_attention.export.tokenizer_json import normalization_steps, replace
from keras_attention.export.wordpiece_json import wordpiece_json
from keras_attention.ops.ids import END, SPECIALS, START, UNKNOWN
from keras_attention.text import MarianTokenizer, SentencePieceTokenizer, WordPieceTokenizer
from keras_attention.text.wordpiece import INSIDE

PieceTokenizer = MarianTokenizer | SentencePieceTokenizer
# No characters, so text has none: the mark of the target's tokens, and a run of unknown characters.
MARK, UNKNOWN_RUN = "\uffff", "\ufffe"
SPACE = "▁"  # SentencePiece's letter for a space


class JointTokenizer(NamedTuple):
    """A tokenizer of source and target.

    Attributes:
        contents: of `tokenizer.json`.
        offset: what is added to an id of the source that is not special.
        source_ids: for each id the encoder's id.
    """

    contents: dict[str, Any]
    offset: int
    source_ids: list[int]


def join_tokenizers(source: PieceTokenizer, target: PieceTokenizer) -> JointTokenizer:
    """Returns the tokenizer that encodes as `source` and decodes as `target`."""
    proto, piece_ids = source.pieces()
    pieces = [
        (each.piece, each.score, id)
        for each, id in zip(ModelProto.FromString(proto).pieces, piece_ids, strict=True)
        if each.type == each.NORMAL
    ]
    scores = {piece: score for piece, score, id in pieces if id != UNKNOWN}
    codes = source.language_codes if isinstance(source, MarianTokenizer) else []
    scores |= dict.fromkeys(codes, 0.0)

    is_shared = source.vocabulary == target.vocabulary
    targets = [] if is_shared else target.vocabulary[len(SPECIALS) :]
    sources = source.vocabulary[len(SPECIALS) :]
    others = [(piece, score) for piece, score, id in pieces if id == UNKNOWN]
    vocabulary = [
        *((token, 0.0) for token in SPECIALS),
        *((MARK + token, 0.0) for token in targets),
        *((t, scores[t]) if t in scores else (MARK + t, 0.0) for t in sources),
        *others,
    ]
    source_ids = [
        *range(len(SPECIALS)),
        *(UNKNOWN for _ in targets),
        *range(len(SPECIALS), source.vocabulary_size),
        *(UNKNOWN for _ in others),
    ]
    ids = {token: id for id, (token, _) in enumerate(vocabulary)}
    # `MarianTokenizer` leaves out [UNK], the others write it.
    special = SPECIALS if isinstance(target, MarianTokenizer) else SPECIALS[:UNKNOWN]
    contents = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            *(_added_token(ids[token], token, special=True) for token in special),
            *(_added_token(ids[token], token, special=False) for token in codes),
        ],
        "normalizer": _normalizer(source),
        "pre_tokenizer": None,
        "post_processor": _add_token(END, at_start=False),
        "decoder": _decoder(target),
        "model": {"type": "Unigram", "unk_id": UNKNOWN, "vocab": vocabulary},
    }
    return JointTokenizer(contents, len(targets), source_ids)


def prompt_tokenizer(tokenizer: SentencePieceTokenizer | WordPieceTokenizer) -> dict[str, Any]:
    """Returns the contents of `tokenizer.json` of a language model; it adds START to prompts."""
    if isinstance(tokenizer, WordPieceTokenizer):
        contents = json.loads(wordpiece_json(tokenizer))
        special = SPECIALS[:UNKNOWN]
        contents["added_tokens"] = [
            _added_token(id, token, special=True) for id, token in enumerate(special)
        ]
        contents["decoder"] = {"type": "WordPiece", "prefix": INSIDE, "cleanup": False}
    else:
        contents = join_tokenizers(tokenizer, tokenizer).contents
    return {**contents, "post_processor": _add_token(START, at_start=True)}


def _added_token(id, content, special):
    kinds = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": content, **kinds, "special": special}


def _normalizer(tokenizer):
    """Returns the normalization of a tokenizer, and of its SentencePiece model."""
    model = ModelProto.FromString(tokenizer.proto)
    spec = model.normalizer_spec
    steps = normalization_steps(tokenizer)
    if isinstance(tokenizer, MarianTokenizer) and spec.precompiled_charsmap:
        rules = base64.b64encode(spec.precompiled_charsmap).decode("ascii")
        steps.append({"type": "Precompiled", "precompiled_charsmap": rules})
    if spec.remove_extra_whitespaces:
        steps += [replace(r"\A +| +\z", ""), replace(" {2,}", " ")]
    steps.append(replace(" ", SPACE))
    if spec.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    if spec.remove_extra_whitespaces:
        steps.append(replace(rf"{SPACE}+\z", ""))
    if isinstance(tokenizer, MarianTokenizer):  # a single one may be a token of the target
        known = sorted({SPACE, *(each.piece for each in model.pieces if len(each.piece) == 1)})
        escaped = (rf"\{each}" if each in r"[]\^-" else each for each in known)
        steps.append(replace(f"[^{''.join(escaped)}]{{2,}}", UNKNOWN_RUN))
    return {"type": "Sequence", "normalizers": steps}


def _decoder(tokenizer):
    spec = ModelProto.FromString(tokenizer.proto).normalizer_spec
    steps = [replace(MARK, ""), replace(SPACE, " "), {"type": "Fuse"}]
    if isinstance(tokenizer, MarianTokenizer):
        steps.append(replace(r"\A +| +\z", ""))
    elif spec.add_dummy_prefix:
        steps.append(replace(r"\A +", ""))
    return {"type": "Sequence", "decoders": steps}


def _add_token(id, at_start):
    """Returns a step that adds a special token at the start or at the end of each text."""
    token = SPECIALS[id]
    special = {"SpecialToken": {"id": token, "type_id": 0}}
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    pairs = [[special, text] if at_start else [text, special] for text in texts]
    return {
        "type": "TemplateProcessing",
        "single": pairs[0],
        "pair": [*pairs[0], *pairs[1]],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    }
