"""Options of a task that the folder of transformers.js cannot represent."""

from collections.abc import Iterator, Sequence

import keras

from keras_attention.decoders import CausalLMDecoder, TransformerDecoder
from keras_attention.export.unsupported import check_no_options
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.layers import TextEncoder, TransformerEncoder
from keras_attention.models import CausalLM, EncoderDecoder
from keras_attention.text import (
    MarianTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordPieceTokenizer,
)
from keras_attention.text.sentencepiece_tflite import can_split


def check_supported(
    model: keras.Model, strategy: Strategy | None, tokenizers: Sequence[Tokenizer]
) -> None:
    """Raises a `ValueError` that names every option that the format cannot represent."""
    if isinstance(model, CausalLM):
        options = [
            *_unsupported_in_language_model(model),
            *_unsupported_in_strategy(strategy),
            *_unsupported_in_tokenizer(tokenizers[0]),
        ]
    else:
        options = [
            *_unsupported_in_model(model),
            *_unsupported_in_strategy(strategy),
            *_unsupported_in_tokenizers(tokenizers),
        ]
    check_no_options(
        options,
        "A transformers.js export is for translators with a Transformer and for language models, "
        "with greedy search and the tokenizers that docs/export.md lists",
    )


def _unsupported_in_language_model(model: CausalLM) -> Iterator[str]:
    decoder = model.decoder
    if type(decoder) is not CausalLMDecoder:
        yield f"decoder: {type(decoder).__name__}"
        return
    # The caches have the shapes that config.json implies.
    attentions = [block.self_attention for block in decoder.blocks]
    if len({(each.num_heads, each.num_key_value_heads) for each in attentions}) > 1:
        yield "decoder: blocks with different numbers of heads"
    if decoder.compute_dtype != "float32":
        yield f"decoder: dtype={decoder.dtype_policy.name}"


def _unsupported_in_model(model: keras.Model) -> Iterator[str]:
    if not isinstance(model, EncoderDecoder):
        yield f"a model of class {type(model).__name__}"
        return
    encoder, decoder = model.encoder, model.decoder
    body = getattr(encoder, "body", encoder)
    if type(encoder) is not TextEncoder or type(body) is not TransformerEncoder:
        yield f"encoder: {type(body).__name__}"
    if type(decoder) is not TransformerDecoder:
        yield f"decoder: {type(decoder).__name__}"
        return
    # The caches have the shapes that config.json implies.
    heads = {
        (block.num_heads, block.num_key_value_heads or block.num_heads) for block in decoder.blocks
    }
    for num_heads, num_key_value_heads in sorted(heads):
        if num_heads != num_key_value_heads:
            yield f"decoder: num_key_value_heads={num_key_value_heads} with num_heads={num_heads}"
    if len(heads) > 1:
        yield "decoder: blocks with different numbers of heads"
    if decoder.compute_dtype != "float32":
        yield f"decoder: dtype={decoder.dtype_policy.name}"


def _unsupported_in_strategy(strategy: Strategy | None) -> Iterator[str]:
    if type(strategy) is not GreedySearch:
        yield f"strategy={type(strategy).__name__}"
    elif strategy.length_ratio:
        yield f"strategy: length_ratio={strategy.length_ratio}"


def _unsupported_in_tokenizers(tokenizers: Sequence[Tokenizer]) -> Iterator[str]:
    for name, tokenizer in zip(("source", "target"), tokenizers, strict=False):
        if not isinstance(tokenizer, SentencePieceTokenizer | MarianTokenizer):
            yield f"{name} tokenizer: {type(tokenizer).__name__}"
        elif not can_split(tokenizer.proto):
            yield f"{name} tokenizer: a SentencePiece model that is not of type unigram"


def _unsupported_in_tokenizer(tokenizer: Tokenizer) -> Iterator[str]:
    """Yields what is unsupported in the tokenizer of a language model."""
    if not isinstance(tokenizer, SentencePieceTokenizer | WordPieceTokenizer):
        yield f"tokenizer: {type(tokenizer).__name__}"
    elif isinstance(tokenizer, SentencePieceTokenizer) and not can_split(tokenizer.proto):
        yield "tokenizer: a SentencePiece model that is not of type unigram"
