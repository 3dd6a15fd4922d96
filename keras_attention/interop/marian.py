"""Import of Marian translation models, such as OPUS-MT, saved by transformers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_attention.decoders import TransformerDecoder
from keras_attention.generation import BeamSearch, GreedySearch, Strategy
from keras_attention.interop.marian_weights import (
    OLDER_WEIGHTS,
    WEIGHTS,
    Weights,
    load_weights,
    suppress_in_bias,
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
from keras_attention.models.saved_strategy import check_saved_strategy
from keras_attention.ops.ids import SPECIALS, START, UNKNOWN
from keras_attention.text import MarianTokenizer
from keras_attention.utils.atomic_io import read_json
from keras_attention.utils.limits import limits
from keras_attention.utils.optional_imports import require_extra
from keras_attention.utils.reading import errors_name_file, read_bytes

FILES = (
    "config.json", "generation_config.json", WEIGHTS, "source.spm", "target.spm", "vocab.json",
    "target_vocab.json",
)  # fmt: skip
HUB_NAME = r"\w[\w.-]*/[\w.-]+"
ACTIVATIONS = {"swish": "silu", "silu": "silu", "relu": "relu", "gelu": "gelu"}
# Generation options without a counterpart here, and the values that have no effect.
IGNORED_OPTIONS = {
    "do_sample": False, "min_length": 0, "min_new_tokens": 0, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "num_beam_groups": 1,
    "forced_bos_token_id": None, "suppress_tokens": None, "begin_suppress_tokens": None,
    "sequence_bias": None, "exponential_decay_length_penalty": None,
}  # fmt: skip


class Marian(NamedTuple):
    """Contents of a Marian folder: the parts of a `tasks.Translator`."""

    model: EncoderDecoder
    source_tokenizer: MarianTokenizer
    target_tokenizer: MarianTokenizer
    strategy: Strategy
    max_source_length: int


class Vocabulary(NamedTuple):
    """Vocabulary with the special tokens first, and its mapping to the ids of the files.

    Ids 0 to 3 are PAD, START, END and UNKNOWN. The files have no START: decoding starts with
    another token, nearly always padding, and START gets the same row of the embedding.

    Attributes:
        tokens: Tokens in the order of our ids.
        marian_ids: Id of each token in the files.
    """

    tokens: list[str]
    marian_ids: np.ndarray


def read_marian(
    folder_or_name: str | Path, strategy: Strategy | None = None, revision: str | None = None
) -> Marian:
    """Reads a Marian model; see `tasks.Translator.from_marian`.

    Args:
        folder_or_name: Folder, or name of a model on the Hugging Face hub.
        strategy: Search strategy; that of the folder by default.
        revision: Commit, tag or branch of a model on the hub.

    Returns:
        A `Marian` with the model, its tokenizers and the strategy.

    Raises:
        ValueError: If a file is missing or damaged, the files do not match, or an option of the
            generation is not supported.
    """
    folder = _resolve_folder(folder_or_name, revision)
    with errors_name_file(folder, "The folder must contain a Marian model of transformers"):
        return _read_folder(folder, strategy)


def _read_folder(folder: Path, strategy: Strategy | None) -> Marian:
    config = read_json(_file(folder, "config.json"))
    if config.get("model_type") != "marian":
        raise ValueError(
            "`model_type` in config.json must be 'marian'. "
            f"Received: model_type={config.get('model_type')!r}, folder={str(folder)!r}"
        )
    separate = not config.get("share_encoder_decoder_embeddings", True)
    generation = config
    if (folder / "generation_config.json").is_file():
        ids = {name: config.get(name) for name in ("decoder_start_token_id", "eos_token_id")}
        generation = {**ids, **read_json(folder / "generation_config.json")}
    target_file = "target_vocab.json" if separate else "vocab.json"
    sizes = [_require_size(config, "vocab_size")] * 2
    if separate and config.get("decoder_vocab_size"):
        sizes[1] = _require_size(config, "decoder_vocab_size")
    start_id = _require(generation, "decoder_start_token_id")
    source = _vocabulary(folder, "vocab.json", sizes[0], config, start_id)
    target = _vocabulary(folder, target_file, sizes[1], config, start_id)
    suppressed = _suppressed_ids(generation, target)
    weights = Weights(folder)
    check_sizes(config, weights, sizes)
    model = build_model(config, len(source.tokens), len(target.tokens))
    load_weights(model, weights, source.marian_ids, target.marian_ids)
    if generation.get("renormalize_logits"):
        suppress_in_bias(model, suppressed)
    if strategy is None:
        strategy = _make_strategy(generation, suppressed)
        check_saved_strategy(strategy, model.decoder)
    source_proto, target_proto = (
        read_bytes(_file(folder, f"{side}.spm"), "tokenizer_bytes") for side in ("source", "target")
    )
    return Marian(
        model,
        MarianTokenizer(source_proto, source.tokens),
        MarianTokenizer(target_proto, target.tokens),
        strategy,
        _require_size(config, "max_position_embeddings", limits.max_length),
    )


def is_marian(folder: Path) -> bool:
    """Returns whether the `config.json` of a folder describes a Marian model."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("model_type") == "marian"


def check_sizes(config: dict, weights: Weights, vocabulary_sizes: Sequence[int]) -> None:
    """Checks the sizes in a `config.json` against the weights, before a model is built.

    Args:
        config: Contents of `config.json`.
        weights: Weights of the folder.
        vocabulary_sizes: Numbers of source and target tokens.

    Raises:
        ValueError: If a size is not that of the weights.
    """
    width = _require_size(config, "d_model")
    for side, rows in zip(("encoder", "decoder"), vocabulary_sizes, strict=True):
        tables = [f"model.{side}.embed_tokens.weight", "model.shared.weight", "lm_head.weight"]
        weights.find(tables, rows, width)
        layers = _require_size(config, f"{side}_layers", len(weights.arrays))
        last = f"model.{side}.layers.{layers - 1}"
        weights.find([f"{last}.fc1.weight"], _require_size(config, f"{side}_ffn_dim"), width)
        weights.find([f"{last}.self_attn.q_proj.weight"], width, width)


def build_model(
    config: dict, source_vocabulary_size: int, target_vocabulary_size: int
) -> EncoderDecoder:
    """Builds the model described by a `config.json`, with random weights."""
    activation = config.get("activation_function", "gelu")
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation_function` in config.json must be one of {tuple(ACTIVATIONS)}. "
            f"Received: activation_function={activation!r}"
        )

    def blocks(block_class, side):
        return make_blocks(
            block_class,
            _require_size(config, f"{side}_layers"),
            num_heads=_require_size(config, f"{side}_attention_heads"),
            intermediate_dim=_require_size(config, f"{side}_ffn_dim"),
            dropout=config.get("dropout", 0.0),
            attention_dropout=config.get("attention_dropout", 0.0),
            intermediate_dropout=config.get("activation_dropout", 0.0),
            norm="post",
            activation=ACTIVATIONS[activation],
        )

    embedding_options = {
        "embedding_dim": _require_size(config, "d_model"),
        "scale": config.get("scale_embedding", False),
        "positions": "marian",
        "dropout": config.get("dropout", 0.0),
    }
    tied = config.get("tie_word_embeddings", True)
    output = "tied" if tied else "separate"
    target_embedding = TokenEmbedding(
        target_vocabulary_size, output=output, output_bias=True, **embedding_options
    )
    # Without tied weights, a shared vocabulary has two embeddings nevertheless.
    shared = tied and config.get("share_encoder_decoder_embeddings", True)
    source_embedding = (
        target_embedding if shared else TokenEmbedding(source_vocabulary_size, **embedding_options)
    )
    body = TransformerEncoder(blocks(EncoderBlock, "encoder"))
    return EncoderDecoder(
        TextEncoder(source_embedding, body, name="encoder"),
        TransformerDecoder(target_embedding, blocks(DecoderBlock, "decoder"), name="decoder"),
        name="marian",
    )


def _vocabulary(folder, name, size, config, start_id):
    """Reads a vocabulary file and reorders it."""
    ids = read_json(_file(folder, name))
    tokens = {id: token for token, id in ids.items()}
    # The lengths first: a size in config.json may be any number.
    if not len(ids) == len(tokens) == size or sorted(tokens) != list(range(size)):
        raise ValueError(
            f"{name} must contain each id between 0 and {size - 1} once, as in config.json. "
            f"Received: {len(ids)} tokens with {len(tokens)} ids, folder={str(folder)!r}"
        )
    special = [
        _require(config, "pad_token_id"),
        start_id,
        _require(config, "eos_token_id"),
        ids.get("<unk>"),
    ]
    if not all(id in tokens for id in special) or len({special[0], *special[2:]}) < 3:
        raise ValueError(
            f"{name} must contain the ids of padding, decoder start, end and '<unk>'. "
            f"Received: {special}, folder={str(folder)!r}"
        )
    rest = [id for id in range(size) if id not in (special[0], *special[2:])]
    names = [*SPECIALS, *(tokens[id] for id in rest)]
    return Vocabulary(names, np.array([*special, *rest]))


def _suppressed_ids(generation, target):
    """Returns our ids of the tokens that must not be generated; END is never suppressed."""
    bad_words = generation.get("bad_words_ids") or []
    if any(len(words) != 1 for words in bad_words):
        raise ValueError(
            "`bad_words_ids` in generation_config.json must have one token each. "
            f"Received: bad_words_ids={bad_words}"
        )
    marian_ids = {id for (id,) in bad_words if id != generation["eos_token_id"]}
    ids = [id for id, marian_id in enumerate(target.marian_ids) if marian_id in marian_ids]
    return [id for id in ids if id != START]


def _make_strategy(generation, suppressed):
    """Returns the strategy of a `generation_config.json`, with the defaults of transformers."""
    for name, neutral in IGNORED_OPTIONS.items():
        if generation.get(name) not in (None, neutral):
            raise ValueError(
                f"`{name}` in generation_config.json is not supported; pass a `strategy`. "
                f"Received: {name}={generation[name]!r}"
            )
    # `max_length` of transformers counts the token that the decoder starts with.
    limit = generation.get("max_new_tokens") or (generation.get("max_length") or 21) - 1
    limits: dict[str, Any] = {
        "max_new_tokens": limit,
        "suppress_tokens": [id for id in suppressed if id >= UNKNOWN],
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


def _resolve_folder(folder_or_name, revision):
    """Returns the folder, downloading it from the Hugging Face hub if this is a name."""
    if Path(folder_or_name).is_dir():
        if revision is not None:
            raise ValueError(
                "`revision` requires the name of a model on the Hugging Face hub. "
                f"Received: revision={revision!r}, folder={str(folder_or_name)!r}"
            )
        return Path(folder_or_name)
    name = str(folder_or_name)
    if not re.fullmatch(HUB_NAME, name):
        raise ValueError(
            "`folder_or_name` must be a folder or a name on the Hugging Face hub, such as "
            f"'Helsinki-NLP/opus-mt-en-de'. Received: {name!r}"
        )
    require_extra("hub", "Translator.from_marian(name)")
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    if not (folder / WEIGHTS).is_file():  # download only one of the two large files
        snapshot_download(name, revision=revision, allow_patterns=[OLDER_WEIGHTS])
    return folder


def _file(folder, name):
    if not (folder / name).is_file():
        raise ValueError(f"The folder must contain {name}. Received: folder={str(folder)!r}")
    return folder / name


def _require_size(config, name, most=2**31):
    size = _require(config, name)
    if type(size) is not int or not 1 <= size <= most:
        raise ValueError(
            f"`{name}` in config.json must be an integer from 1 to {most}. Received: {name}={size}"
        )
    return size


def _require(config, name):
    if config.get(name) is None:
        raise ValueError(f"config.json must contain `{name}`. Received: {name}=None")
    return config[name]
