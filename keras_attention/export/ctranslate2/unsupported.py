"""Options of models and strategies that CTranslate2's format does not represent."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_attention.decoders import CausalLMDecoder, TransformerDecoder
from keras_attention.export.ctranslate2.specification import ACTIVATIONS
from keras_attention.export.unsupported import check_no_options
from keras_attention.generation import BeamSearch, GreedySearch, Strategy
from keras_attention.layers import (
    AlibiBias,
    DecoderBlock,
    EncoderBlock,
    RelativePositionBias,
    RotaryEmbedding,
    TextEncoder,
    TokenEmbedding,
    TransformerEncoder,
)
from keras_attention.layers.feed_forward import GATED_UNITS
from keras_attention.models import CausalLM, EncoderDecoder

# Options of a block that change nothing once it is trained.
TRAINING_OPTIONS = {
    "name", "trainable", "dtype", "dropout", "attention_dropout", "intermediate_dropout",
    "stochastic_depth",
}  # fmt: skip


def check_supported(
    model: keras.Model, strategy: Strategy | None, vocabularies: Sequence[list[str]]
) -> None:
    """Raises a `ValueError` that names every option that CTranslate2 cannot represent."""
    options = [
        *_unsupported_in_model(model),
        *_unsupported_in_strategy(strategy),
        *_unsupported_in_vocabularies(vocabularies),
    ]
    check_no_options(
        options,
        "A CTranslate2 export is for Transformers, with greedy or beam search and the options "
        "that docs/export.md lists",
    )


def _unsupported_in_model(model: keras.Model) -> Iterator[str]:
    if not isinstance(model, EncoderDecoder | CausalLM):
        yield f"a model of class {type(model).__name__}"
        return
    decoder, is_translator = model.decoder, isinstance(model, EncoderDecoder)
    decoder_class = TransformerDecoder if is_translator else CausalLMDecoder
    has_decoder, has_encoder = type(decoder) is decoder_class, False
    if is_translator:
        encoder, body = model.encoder, getattr(model.encoder, "body", model.encoder)
        has_encoder = type(encoder) is TextEncoder and type(body) is TransformerEncoder
        if has_encoder:
            yield from _unsupported_in_stack("encoder", body, encoder.embedding)
        else:
            yield f"encoder: {type(body).__name__}"
        if getattr(encoder, "reverse", False):
            yield "encoder: reverse=True"
    if has_decoder:
        yield from _unsupported_in_stack("decoder", decoder.stack, decoder.embedding)
    else:
        yield f"decoder: {type(decoder).__name__}"
    if has_encoder and has_decoder:
        kinds = [stack.blocks[0].norm_kind for stack in (model.encoder.body, decoder)]
        if kinds[0] != kinds[1]:  # there is one epsilon
            yield f"encoder and decoder: norm_kind={kinds[0]!r} and {kinds[1]!r}"
        if decoder.blocks[0].qk_norm:
            yield "decoder: qk_norm=True with cross-attention"
    if any(keras.backend.is_int_dtype(weight.dtype) for weight in model.weights):
        yield "weights that Keras has quantized"


def _unsupported_in_stack(side: str, stack: Any, embedding: Any) -> Iterator[str]:
    block, blocks = stack.blocks[0], stack.blocks
    for each in (embedding, *blocks):
        if type(each) not in (TokenEmbedding, EncoderBlock, DecoderBlock):
            yield f"{side}: {type(each).__name__}"
            return
    options = [_inference_options(each) for each in blocks]
    if any(each != options[0] for each in options):
        yield f"{side}: blocks with different options"
    if block.norm == "sandwich":
        yield f"{side}: norm='sandwich'"
    if GATED_UNITS.get(block.activation, block.activation) not in ACTIVATIONS:
        yield f"{side}: activation={block.activation!r}"
    for name in ("soft_cap", "window"):
        if getattr(block, name) is not None:
            yield f"{side}: {name}={getattr(block, name)}"
    if block.qk_norm and block.norm_kind != "rms":  # there is one epsilon
        yield f"{side}: qk_norm=True with norm_kind={block.norm_kind!r}"
    yield from _unsupported_positions(side, stack, embedding)


def _unsupported_positions(side: str, stack: Any, embedding: TokenEmbedding) -> Iterator[str]:
    positions, bias = stack.blocks[0].positions, stack.position_bias
    kinds = (RotaryEmbedding,) if side == "encoder" else (RotaryEmbedding, AlibiBias)
    if positions is not None and type(positions) not in kinds:
        yield f"{side}: positions={type(positions).__name__} of the blocks"
    if bias is not None and (
        type(bias) is not RelativePositionBias or bias.bidirectional != (side == "encoder")
    ):
        yield f"{side}: position_bias={type(bias).__name__}"
    used = [x for x in (embedding.positions, positions, bias) if x is not None]
    if len(used) > 1:
        yield f"{side}: {len(used)} position encodings together"


def _inference_options(layer: Any) -> dict[str, Any]:
    """Returns the options of a block or a position encoding that its outputs depend on."""
    config = {k: v for k, v in layer.get_config().items() if k not in TRAINING_OPTIONS}
    if config.get("positions") is not None:
        config["positions"] = (type(layer.positions), _inference_options(layer.positions))
    return config


def _unsupported_in_strategy(strategy: Strategy | None) -> Iterator[str]:
    if type(strategy) not in (GreedySearch, BeamSearch):
        yield f"strategy={type(strategy).__name__}"
        return
    for name in ("length_ratio", "coverage_penalty"):
        if getattr(strategy, name, None):
            yield f"strategy: {name}={getattr(strategy, name)}"
    assert strategy is not None
    if strategy.force_end and strategy.max_new_tokens == 1:
        yield "strategy: force_end=True with max_new_tokens=1"


def _unsupported_in_vocabularies(vocabularies: Sequence[list[str]]) -> Iterator[str]:
    for name, vocabulary in zip(("source", "target"), vocabularies, strict=False):
        count = len(vocabulary) - len(set(vocabulary))
        if count:
            yield f"{name} vocabulary: {count} repeated tokens"
