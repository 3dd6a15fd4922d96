"""Small, briefly trained Marian models, saved by transformers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ANIMALS = {"dog": "Hund", "cat": "Katze", "bird": "Vogel", "horse": "Pferd", "frog": "Frosch"}
VERBS = {"sees": "sieht", "loves": "liebt", "follows": "verfolgt", "hears": "hört"}
PAIRS = [
    (f"The {a} {verb} the {b}.", f"Das {c} {wort} das {d}.")
    for a, c in ANIMALS.items()
    for b, d in ANIMALS.items()
    for verb, wort in VERBS.items()
]
# Pieces of both languages, an unknown character, one of the other language, spaces, codes.
TEXTS = [
    "The dog sees the cat.",
    "that horse hears",
    "",
    "frog",
    "  two   spaces, and a tab\t",
    "The 漢字 bird hört ß schön",
    "ﬁne Ｔhe birds",
    ">>deu<< The bird follows the frog.",
    ">>xyz<< The bird",
    "a >>deu<< in the middle << >>",
    "cat, cat, cat, cat",
    "HORSE & frog! Is that the dog?",
]
CODES = (">>deu<<", ">>fra<<")
SIZES = {
    "d_model": 24, "encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 28, "encoder_attention_heads": 4, "decoder_attention_heads": 2,
    "max_position_embeddings": 64, "init_std": 0.2,
}  # fmt: skip


def vocabulary_of(*protos: bytes, codes: tuple = CODES) -> dict[str, int]:
    """Returns a vocabulary in the order of Marian: `</s>`, `<unk>`, pieces, codes, `<pad>`."""
    from sentencepiece import SentencePieceProcessor

    models = [SentencePieceProcessor(model_proto=proto) for proto in protos]
    pieces = {m.id_to_piece(id): 0 for m in models for id in range(3, m.vocab_size())}
    # Not every piece is in a vocabulary: OPUS-MT's leave out the rare ones.
    frequent = [piece for index, piece in enumerate(sorted(pieces)) if index % 9]
    return {token: id for id, token in enumerate(["</s>", "<unk>", *frequent, *codes, "<pad>"])}


def train(model: Any, tokenizer: Any, steps: int) -> None:
    """Trains briefly, so that the outputs depend on the inputs."""
    import torch

    sources, targets = map(list, zip(*PAIRS, strict=True))
    batch = tokenizer(sources, text_target=targets, return_tensors="pt", padding=True)
    batch["labels"][batch["labels"] == tokenizer.pad_token_id] = -100
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    model.eval()


class Checkpoint(NamedTuple):
    folder: Path
    model: Any  # MarianMTModel
    tokenizer: Any  # MarianTokenizer
    texts: list[str] = TEXTS
    pairs: list[tuple[str, str]] = PAIRS


def make_marian(
    folder: Path,
    separate: bool = False,
    generation: dict | None = None,
    seed: int = 0,
    spm: dict | None = None,
    **config: Any,
) -> Checkpoint:
    """Writes a folder, and returns the model and tokenizer that transformers reads from it."""
    torch = pytest.importorskip("torch", reason="torch makes the checkpoints")
    transformers = pytest.importorskip(
        "transformers", reason="transformers, the peer, writes the checkpoints"
    )
    from helpers import train_sentencepiece

    torch.set_num_threads(1)  # threads that wait for one another cost more than these models
    folder.mkdir(parents=True, exist_ok=True)
    protos = {
        name: train_sentencepiece([pair[side] for pair in PAIRS], 70, **(spm or {}))
        for side, name in enumerate(("source", "target"))
    }
    for name, proto in protos.items():
        (folder / f"{name}.spm").write_bytes(proto)
    vocabularies = [vocabulary_of(*protos.values())] * 2
    if separate:
        vocabularies = [vocabulary_of(proto, codes=()) for proto in protos.values()]
        # The id of padding is one for both, as transformers has it.
        longest = max(map(len, vocabularies))
        for vocabulary in vocabularies:
            del vocabulary["<pad>"]
            for id in range(len(vocabulary), longest):
                vocabulary[f"<filler {id}>" if id < longest - 1 else "<pad>"] = id
        (folder / "target_vocab.json").write_text(json.dumps(vocabularies[1]))
    (folder / "vocab.json").write_text(json.dumps(vocabularies[0]))
    tokenizer_config = {
        "source_lang": "eng", "target_lang": "deu", "model_max_length": 64,
        "separate_vocabs": separate,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))

    size, pad = len(vocabularies[0]), vocabularies[0]["<pad>"]
    described = transformers.MarianConfig(
        **{
            **SIZES, "vocab_size": size, "decoder_vocab_size": len(vocabularies[1]),
            "pad_token_id": pad, "eos_token_id": 0, "bos_token_id": None,
            "decoder_start_token_id": pad, "forced_eos_token_id": 0, "scale_embedding": True,
            "activation_function": "swish", "share_encoder_decoder_embeddings": not separate,
            **config,
        }
    )  # fmt: skip
    torch.manual_seed(seed)
    model = transformers.MarianMTModel(described)
    with torch.no_grad():
        model.final_logits_bias.normal_(0, 0.3)
    tokenizer = transformers.MarianTokenizer.from_pretrained(folder)
    train(model, tokenizer, steps=100)
    model.generation_config = transformers.GenerationConfig(
        **{
            "max_length": 26, "num_beams": 4, "forced_eos_token_id": 0,
            "eos_token_id": 0, "pad_token_id": pad, "decoder_start_token_id": pad,
            "renormalize_logits": True, "bad_words_ids": [["pad"]], **(generation or {}),
        }
    )  # fmt: skip
    banned = model.generation_config.bad_words_ids
    model.generation_config.bad_words_ids = [[pad if i == "pad" else i] for (i,) in banned]
    model.save_pretrained(folder)
    return Checkpoint(folder, *read_by_transformers(folder))


def read_by_transformers(folder: Path) -> tuple:
    """Returns model and tokenizer."""
    from transformers import MarianMTModel, MarianTokenizer

    return MarianMTModel.from_pretrained(folder).eval(), MarianTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def marian_maker() -> Callable[..., Checkpoint]:
    return make_marian


@pytest.fixture(scope="session")
def opus(tmp_path_factory) -> Checkpoint:
    """Model in the manner of OPUS-MT: shared vocabulary and embedding, swish, 4 beams."""
    return make_marian(tmp_path_factory.mktemp("marian") / "opus")
