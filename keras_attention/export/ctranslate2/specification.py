"""Mapping of Transformer models to the specifications of CTranslate2, weight by weight."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ctranslate2 import specs
from ctranslate2.specs.attention_spec import MultiHeadAttentionSpec, RotaryScalingType
from ctranslate2.specs.common_spec import Activation, LayerNormSpec, LinearSpec
from keras import ops

from keras_attention.layers import (
    AlibiBias,
    MultiHeadAttention,
    MultiHeadSelfAttention,
    RelativePositionBias,
    RotaryEmbedding,
    TokenEmbedding,
)
from keras_attention.layers.feed_forward import GATED_UNITS, FeedForward
from keras_attention.layers.transformer_block import TransformerBlock
from keras_attention.models import CausalLM, EncoderDecoder
from keras_attention.ops.ids import END, START, UNKNOWN

ACTIVATIONS = {
    "relu": Activation.RELU,
    "gelu": Activation.GELU,  # with the error function, as Keras's
    "silu": Activation.SWISH,
    "swish": Activation.SWISH,
    "tanh": Activation.Tanh,
    "sigmoid": Activation.Sigmoid,
}


def make_specification(
    model: EncoderDecoder | CausalLM, vocabularies: Sequence[list[str]], num_positions: int
) -> specs.ModelSpec:
    """Returns the specification of a model, with its weights.

    Args:
        model: a model in which `unsupported_options` finds none.
        vocabularies: the tokens in the order of their ids, of source and target, or of a language
            model.
        num_positions: number of positions in the tables of sinusoids.
    """
    decoder = _decoder(model.decoder, num_positions)
    if isinstance(model, CausalLM):
        spec = specs.TransformerDecoderModelSpec(decoder)
        spec.register_vocabulary(vocabularies[0])
    else:
        spec = specs.TransformerSpec(_encoder(model.encoder, num_positions), decoder)
        spec.register_source_vocabulary(vocabularies[0])
        spec.register_target_vocabulary(vocabularies[1])
        spec.config.decoder_start_token = vocabularies[1][START]
    vocabulary = vocabularies[-1]
    spec.config.bos_token = vocabulary[START]
    spec.config.eos_token = vocabulary[END]
    spec.config.unk_token = vocabulary[UNKNOWN]
    norm = model.decoder.blocks[0].self_attention_residual.norm_layer
    spec.config.layer_norm_epsilon = norm.epsilon
    return spec


def _encoder(encoder: Any, num_positions: int) -> specs.TransformerEncoderSpec:
    stack = encoder.body
    spec = specs.TransformerEncoderSpec(**_stack_options(stack))
    _set_embedding(spec, spec.embeddings[0], encoder.embedding, num_positions)
    _set_stack(spec, stack)
    return spec


def _decoder(decoder: Any, num_positions: int) -> specs.TransformerDecoderSpec:
    stack, block = decoder.stack, decoder.blocks[0]
    spec = specs.TransformerDecoderSpec(
        **_stack_options(stack),
        with_encoder_attention=block.has_cross_attention,
        alibi=isinstance(block.positions, AlibiBias),
        alignment_heads=block.num_heads,  # all of the last block, as in the decoder's `step`
    )
    _set_embedding(spec, spec.embeddings, decoder.embedding, num_positions)
    _set_stack(spec, stack)
    kernel, bias = decoder.embedding.output_weights()
    _set_linear(spec.projection, kernel, bias)
    return spec


def _stack_options(stack: Any) -> dict[str, Any]:
    block: TransformerBlock = stack.blocks[0]
    activation = GATED_UNITS.get(block.activation, block.activation)
    options = {
        "num_layers": len(stack.blocks),
        "num_heads": block.num_heads,
        "num_heads_kv": block.num_key_value_heads,
        "pre_norm": block.norm == "pre",
        "rms_norm": block.norm_kind == "rms",
        "qk_norm": block.qk_norm,
        "activation": ACTIVATIONS[activation],
        "ffn_glu": block.activation in GATED_UNITS,
        "relative_attention_bias": stack.position_bias is not None,
    }
    if isinstance(block.positions, RotaryEmbedding):
        options |= _rotary_options(block.positions, block.self_attention.key_dim)
    return options


def _rotary_options(rotary: RotaryEmbedding, width: int) -> dict[str, Any]:
    options = {"rotary_dim": 0, "rotary_interleave": False, "rotary_base": rotary.base}
    if rotary.scaling == "linear":
        linear = {"rotary_scaling_type": RotaryScalingType.Linear}
        return {**options, **linear, "rotary_scaling_factor": rotary.factor}
    if rotary.scaling == "ntk":
        return {**options, "rotary_base": rotary.base * rotary.factor ** (width / (width - 2))}
    return options


def _set_embedding(spec: Any, table: Any, embedding: TokenEmbedding, num_positions: int) -> None:
    table.weight = _array(embedding.tokens.embeddings)  # (V, D)
    spec.scale_embeddings = embedding.embedding_dim**0.5 if embedding.scale else 1.0
    if hasattr(spec, "position_encodings"):  # without a table, CTranslate2 adds sinusoids
        spec.position_encodings.encodings = _position_table(embedding, num_positions)


def _position_table(embedding: TokenEmbedding, num_positions: int) -> np.ndarray:
    """Returns the vectors of all positions, (positions, D)."""
    if embedding.positions is None:
        return np.zeros((num_positions, embedding.embedding_dim), "float32")
    positions = np.arange(embedding.max_positions or num_positions)[None]
    return _array(embedding.position_vectors(positions))[0]


def _set_stack(spec: Any, stack: Any) -> None:
    for layer, block in zip(spec.layer, stack.blocks, strict=True):
        _set_self_attention(layer.self_attention, block.self_attention)
        _set_norm(layer.self_attention.layer_norm, block.self_attention_residual.norm_layer)
        if getattr(block, "has_cross_attention", False):
            _set_cross_attention(layer.attention, block.cross_attention)
            _set_norm(layer.attention.layer_norm, block.cross_attention_residual.norm_layer)
        _set_feed_forward(layer.ffn, block.feed_forward)
        _set_norm(layer.ffn.layer_norm, block.feed_forward_residual.norm_layer)
        if stack.position_bias is not None:
            _set_relative_bias(layer.self_attention, stack.position_bias)
    if stack.final_norm is not None:
        _set_norm(spec.layer_norm, stack.final_norm)


def _set_self_attention(spec: MultiHeadAttentionSpec, attention: MultiHeadSelfAttention) -> None:
    fused, output = spec.linear
    _set_dense(fused, attention.fused_dense)  # query, key and value
    _set_dense(output, attention.output_dense)
    _set_head_norms(spec, attention)


def _set_cross_attention(spec: MultiHeadAttentionSpec, attention: MultiHeadAttention) -> None:
    query, key_value, output = spec.linear
    parts = attention.key_dense, attention.value_dense
    kernel = np.concatenate([_array(part.kernel) for part in parts], axis=1)
    bias = np.concatenate([_array(part.bias) for part in parts]) if attention.use_bias else None
    _set_dense(query, attention.query_dense)
    _set_linear(key_value, kernel, bias)
    _set_dense(output, attention.output_dense)
    _set_head_norms(spec, attention)


def _set_head_norms(spec: MultiHeadAttentionSpec, attention: MultiHeadAttention) -> None:
    if attention.qk_norm:
        _set_norm(spec.q_norm, attention.query_norm)
        _set_norm(spec.k_norm, attention.key_norm)


def _set_relative_bias(spec: MultiHeadAttentionSpec, bias: RelativePositionBias) -> None:
    spec.relative_attention_bias = _array(bias.table)  # (buckets, H)
    spec.relative_attention_max_distance = np.int32(bias.max_distance)


def _set_feed_forward(spec: Any, layer: FeedForward) -> None:
    kernel, bias = _array(layer.inner.kernel), None
    if layer.use_bias:
        bias = _array(layer.inner.bias)
    if layer.is_gated:
        size = layer.intermediate_dim
        _set_linear(spec.linear_0_noact, kernel[:, size:], None if bias is None else bias[size:])
        kernel, bias = kernel[:, :size], None if bias is None else bias[:size]  # of the gate
    _set_linear(spec.linear_0, kernel, bias)
    _set_dense(spec.linear_1, layer.outer)


def _set_dense(spec: LinearSpec, dense: Any) -> None:
    _set_linear(spec, dense.kernel, dense.bias)


def _set_linear(spec: LinearSpec, kernel: Any, bias: Any | None) -> None:
    """Sets the weights of `x W + b`; those of CTranslate2 are (out, in)."""
    spec.weight = np.ascontiguousarray(_array(kernel).T)
    if bias is not None:
        spec.bias = _array(bias)


def _set_norm(spec: LayerNormSpec, norm: Any) -> None:
    if hasattr(norm, "gamma"):
        spec.gamma, spec.beta = _array(norm.gamma), _array(norm.beta)
    else:
        spec.gamma = _array(norm.scale)


def _array(x: Any) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(x, "float32"))
