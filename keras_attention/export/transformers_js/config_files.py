"""`config.json`, `generation_config.json` and `tokenizer_config.json`."""

from pathlib import Path
from typing import Any

from keras_attention.decoders import CausalLMDecoder
from keras_attention.export.transformers_js.layout import DTYPES
from keras_attention.generation import Strategy
from keras_attention.models import EncoderDecoder
from keras_attention.ops.ids import END, PAD, SPECIALS, START
from keras_attention.utils.atomic_io import write_json


def write_translator_config(
    folder: Path, model: EncoderDecoder, strategy: Strategy, max_source_length: int, weights: str
) -> None:
    """Writes the three files of a translator.

    `model_type` is `marian`, whose encoder and decoder have the inputs and outputs of `graphs`. The
    graphs alone say what is computed, so options of `MarianConfig` that loaders do not read are
    left out.

    Args:
        folder: folder of the files.
        model: the model.
        strategy: its limits become those of greedy search.
        max_source_length: maximum number of ids of a source.
        weights: their precision.
    """
    special_ids = {"pad_token_id": PAD, "eos_token_id": END, "decoder_start_token_id": START}
    decoder = model.decoder.blocks
    config = {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        **special_ids,
        "d_model": model.decoder.embedding.embedding_dim,
        "encoder_layers": len(model.encoder.body.blocks),
        "decoder_layers": len(decoder),
        # Loaders read the shapes of the caches of encoder outputs from the encoder's heads.
        "encoder_attention_heads": decoder[0].num_heads,
        "decoder_attention_heads": decoder[0].num_heads,
        "max_position_embeddings": max_source_length,
        "vocab_size": model.decoder.vocabulary_size,  # of the logits; the tokenizer may have more
        "transformers.js_config": {"dtype": DTYPES[weights]},  # the default depends on the device
    }
    generation_config = {
        **special_ids,
        "max_length": 1 + strategy.max_new_tokens,  # with START
        **_greedy_search(strategy),
    }
    tokenizer_config = {
        "model_max_length": max_source_length,
        "pad_token": SPECIALS[PAD],
        "eos_token": SPECIALS[END],
    }
    _write(folder, config, generation_config, tokenizer_config)


def write_language_model_config(
    folder: Path, decoder: CausalLMDecoder, strategy: Strategy, weights: str
) -> None:
    """Writes the three files of a language model.

    `model_type` is `llama`, whose caches may have fewer heads than the queries. The graph alone
    says what is computed, so options of `LlamaConfig` that loaders do not read are left out.

    Args:
        folder: folder of the files.
        decoder: of the model.
        strategy: its limits become those of greedy search.
        weights: their precision.
    """
    special_ids = {"pad_token_id": PAD, "bos_token_id": START, "eos_token_id": END}
    attention = decoder.blocks[0].self_attention
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **special_ids,
        "hidden_size": decoder.embedding.embedding_dim,
        "num_hidden_layers": len(decoder.blocks),
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_key_value_heads,
        "head_dim": attention.key_dim,
        "vocab_size": decoder.vocabulary_size,
        "transformers.js_config": {"dtype": DTYPES[weights]},  # the default depends on the device
    }
    if decoder.max_positions is not None:
        config["max_position_embeddings"] = decoder.max_positions
    generation_config = {
        **special_ids,
        "max_new_tokens": strategy.max_new_tokens,
        **_greedy_search(strategy),
    }
    # No `model_max_length`: transformers.js would remove the last tokens of a prompt.
    tokenizer_config = {
        "padding_side": "left",
        "add_bos_token": True,  # the pipeline leaves out [START] otherwise
        "pad_token": SPECIALS[PAD],
        "bos_token": SPECIALS[START],
        "eos_token": SPECIALS[END],
    }
    _write(folder, config, generation_config, tokenizer_config)


def _greedy_search(strategy: Strategy) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_beams": 1,
        "suppress_tokens": list(strategy.suppressed_ids),
    }
    if strategy.force_end:
        options["forced_eos_token_id"] = END
    return options


def _write(folder, config, generation_config, tokenizer_config):
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", generation_config)
    classes = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", {**classes, **tokenizer_config})
