"""`config.json`, `generation_config.json` and `tokenizer_config.json`."""

from pathlib import Path

from keras_attention.generation import Strategy
from keras_attention.models import EncoderDecoder
from keras_attention.ops.ids import END, PAD, SPECIALS, START
from keras_attention.utils.atomic_io import write_json


def write_config_files(
    folder: Path, model: EncoderDecoder, strategy: Strategy, max_source_length: int
) -> None:
    """Writes the three files.

    `model_type` is `marian`, whose encoder and decoder have the inputs and outputs of `graphs`. The
    graphs alone say what is computed, so options of `MarianConfig` that loaders do not read are
    left out.

    Args:
        folder: folder of the files.
        model: the model.
        strategy: its limits become those of greedy search.
        max_source_length: maximum number of ids of a source.
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
        "transformers.js_config": {"dtype": "fp32"},  # in a browser, the default is another one
    }
    generation_config = {
        **special_ids,
        "max_length": 1 + strategy.max_new_tokens,  # with START
        "num_beams": 1,
        "suppress_tokens": [PAD, START, *strategy.suppress_tokens],
    }
    if strategy.force_end:
        generation_config["forced_eos_token_id"] = END
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_source_length,
        "clean_up_tokenization_spaces": False,
        "pad_token": SPECIALS[PAD],
        "eos_token": SPECIALS[END],
    }
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", generation_config)
    write_json(folder / "tokenizer_config.json", tokenizer_config)
