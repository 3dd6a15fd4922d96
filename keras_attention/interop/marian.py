"""Marian translation models, such as OPUS-MT, from the folders that transformers writes."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_attention.decoders import TransformerDecoder
from keras_attention.generation import BeamSearch, GreedySearch, Strategy
from keras_attention.interop.marian_weights import (
    OLDER_WEIGHTS,
    WEIGHTS,
    Weights,
    load,
    lower_bias,
)
from keras_attention.layers import (
    DecoderBlock,
    EncoderBlock,
    TextEncoder,
    TokenEmbedding,
    TransformerEncoder,
    make_blocks,
)
from keras_attention.models import EncoderDecoder
from keras_attention.ops.ids import SPECIALS, START, UNKNOWN
from keras_attention.text import MarianTokenizer
from keras_attention.utils.atomic_io import read_json
from keras_attention.utils.optional_imports import require_extra

FILES = (
    "config.json", "generation_config.json", WEIGHTS, "source.spm", "target.spm", "vocab.json",
    "target_vocab.json",
)  # fmt: skip
ACTIVATIONS = {"swish": "silu", "silu": "silu", "relu": "relu", "gelu": "gelu"}
# Options of a generation that change what is written, and the values that change nothing.
NEUTRAL = {
    "do_sample": False, "min_length": 0, "min_new_tokens": 0, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "num_beam_groups": 1,
    "forced_bos_token_id": None, "suppress_tokens": None, "begin_suppress_tokens": None,
    "sequence_bias": None, "exponential_decay_length_penalty": None,
}  # fmt: skip


class Marian(NamedTuple):
    """What a folder holds: the parts of a `tasks.Translator`."""

    model: EncoderDecoder
    source_tokenizer: MarianTokenizer
    target_tokenizer: MarianTokenizer
    strategy: Strategy
    max_source_length: int


class Vocabulary(NamedTuple):
    """The tokens in our order of ids, and the id that each has in the files.

    Ours begin with PAD, START, END and UNKNOWN. START has no row in the files: Marian models begin
    with another token, nearly always padding, whose row it gets.
    """

    tokens: list[str]
    theirs: np.ndarray


def read_marian(folder_or_name: str | Path, strategy: Strategy | None = None) -> Marian:
    """Reads a Marian model; see `tasks.Translator.from_marian`."""
    folder = _folder_of(folder_or_name)
    config = read_json(_file(folder, "config.json"))
    if config.get("model_type") != "marian":
        raise ValueError(
            "config.json: expected the model_type 'marian'. "
            f"Received: model_type={config.get('model_type')!r} in {str(folder)!r}"
        )
    separate = not config.get("share_encoder_decoder_embeddings", True)
    generation = config
    if (folder / "generation_config.json").is_file():
        ids = {name: config.get(name) for name in ("decoder_start_token_id", "eos_token_id")}
        generation = {**ids, **read_json(folder / "generation_config.json")}
    target_file = "target_vocab.json" if separate else "vocab.json"
    sizes = [_of(config, "vocab_size")] * 2
    if separate:
        sizes[1] = config.get("decoder_vocab_size") or sizes[0]
    begins = _of(generation, "decoder_start_token_id")
    source = _vocabulary(folder, "vocab.json", sizes[0], config, begins)
    target = _vocabulary(folder, target_file, sizes[1], config, begins)
    banned = _forbidden(generation, target)
    model = build(config, len(source.tokens), len(target.tokens))
    load(model, Weights(folder), source.theirs, target.theirs)
    if generation.get("renormalize_logits"):
        lower_bias(model, banned)
    return Marian(
        model,
        MarianTokenizer(_file(folder, "source.spm").read_bytes(), source.tokens),
        MarianTokenizer(_file(folder, "target.spm").read_bytes(), target.tokens),
        strategy or _strategy(generation, banned),
        _of(config, "max_position_embeddings"),
    )


def is_marian(folder: Path) -> bool:
    """Whether a folder holds a Marian model, by its `config.json`."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("model_type") == "marian"


def build(config: dict, source_size: int, target_size: int) -> EncoderDecoder:
    """The model that a `config.json` describes, with weights of its own yet."""
    activation = config.get("activation_function", "gelu")
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"config.json: expected an activation_function among {tuple(ACTIVATIONS)}. "
            f"Received: activation_function={activation!r}"
        )

    def blocks(block_class, side):
        return make_blocks(
            block_class,
            _of(config, f"{side}_layers"),
            num_heads=_of(config, f"{side}_attention_heads"),
            intermediate_dim=_of(config, f"{side}_ffn_dim"),
            dropout=config.get("dropout", 0.0),
            attention_dropout=config.get("attention_dropout", 0.0),
            intermediate_dropout=config.get("activation_dropout", 0.0),
            norm="post",
            activation=ACTIVATIONS[activation],
        )

    embedded = {
        "embedding_dim": _of(config, "d_model"),
        "scale": config.get("scale_embedding", False),
        "positions": "marian",
        "dropout": config.get("dropout", 0.0),
    }
    tied = config.get("tie_word_embeddings", True)
    output = "tied" if tied else "separate"
    target_embedding = TokenEmbedding(target_size, output=output, output_bias=True, **embedded)
    # One vocabulary has two tables where nothing is tied.
    shared = tied and config.get("share_encoder_decoder_embeddings", True)
    source_embedding = target_embedding if shared else TokenEmbedding(source_size, **embedded)
    body = TransformerEncoder(blocks(EncoderBlock, "encoder"))
    return EncoderDecoder(
        TextEncoder(source_embedding, body, name="encoder"),
        TransformerDecoder(target_embedding, blocks(DecoderBlock, "decoder"), name="decoder"),
        name="marian",
    )


def _vocabulary(folder, name, size, config, begins):
    """Our ids from their file."""
    ids = read_json(_file(folder, name))
    tokens = {id: token for token, id in ids.items()}
    if sorted(tokens) != list(range(size)):
        raise ValueError(
            f"{name}: expected the ids 0 to {size - 1} that config.json tells, once each. "
            f"Received: {len(ids)} tokens with {len(tokens)} ids in {str(folder)!r}"
        )
    special = [_of(config, "pad_token_id"), begins, _of(config, "eos_token_id"), ids.get("<unk>")]
    if not all(id in tokens for id in special) or len({special[0], *special[2:]}) < 3:
        raise ValueError(
            f"{name}: expected the ids of pad, the decoder's start, eos and '<unk>'. "
            f"Received: {special} in {str(folder)!r}"
        )
    rest = [id for id in range(size) if id not in (special[0], *special[2:])]
    names = [*SPECIALS, *(tokens[id] for id in rest)]
    return Vocabulary(names, np.array([*special, *rest]))


def _forbidden(generation, target):
    """Our ids of single tokens that may not be written; END always may."""
    banned = generation.get("bad_words_ids") or []
    if any(len(words) != 1 for words in banned):
        raise ValueError(
            "generation_config.json: expected bad_words_ids of one token each. "
            f"Received: bad_words_ids={banned}"
        )
    theirs = {id for (id,) in banned if id != generation["eos_token_id"]}
    ours = [id for id, their in enumerate(target.theirs) if their in theirs]
    return [id for id in ours if id != START]


def _strategy(generation, banned):
    """What `generation_config.json` says, with transformers' defaults."""
    for name, neutral in NEUTRAL.items():
        if generation.get(name) not in (None, neutral):
            raise ValueError(
                f"generation_config.json: expected no {name}, or a strategy in its place. "
                f"Received: {name}={generation[name]!r}"
            )
    # Theirs counts the token that the decoder begins with.
    limit = generation.get("max_new_tokens") or (generation.get("max_length") or 21) - 1
    limits = {
        "max_new_tokens": limit,
        "suppress_tokens": [id for id in banned if id >= UNKNOWN],
        "force_end": generation.get("forced_eos_token_id") is not None,
    }
    width = generation.get("num_beams") or 1
    if width == 1:
        return GreedySearch(**limits)
    penalty = generation.get("length_penalty")
    return BeamSearch(
        width,
        length_penalty=1.0 if penalty is None else penalty,
        length_penalty_type="power",
        early_stopping=generation.get("early_stopping") or False,
        refill_beams=True,
        **limits,
    )


def _folder_of(folder_or_name):
    """The folder, or where the hub's model of this name was downloaded to."""
    if Path(folder_or_name).is_dir():
        return Path(folder_or_name)
    name = str(folder_or_name)
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        raise ValueError(
            "folder_or_name: expected a folder, or a name of the hub such as "
            f"'Helsinki-NLP/opus-mt-en-de'. Received: {name!r}"
        )
    require_extra("hub", "Translator.from_marian(name)")
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(name, allow_patterns=list(FILES)))
    if not (folder / WEIGHTS).is_file():  # as large, so that only one of the two is downloaded
        snapshot_download(name, allow_patterns=[OLDER_WEIGHTS])
    return folder


def _file(folder, name):
    if not (folder / name).is_file():
        raise ValueError(f"Expected {name} in the folder. Received: {str(folder)!r} without it")
    return folder / name


def _of(config, name):
    if config.get(name) is None:
        raise ValueError(f"config.json: expected {name}. Received: no {name}")
    return config[name]
