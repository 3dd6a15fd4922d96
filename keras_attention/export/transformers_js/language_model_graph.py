"""ONNX graph with the inputs and outputs that transformers.js expects of a language model.

It reads a prompt in one call and then one token in each:

| | name | shape |
| --- | --- | --- |
| inputs | `input_ids` | (batch, length), int64 |
| | `attention_mask` | (batch, past + length), int64 |
| | `position_ids` | (batch, length), int64 |
| | `past_key_values.N.key`, `.value` | (batch, key/value heads, past, width of a head) |
| outputs | `logits` | (batch, length, vocabulary) |
| | `present.N.key`, `.value` | (batch, key/value heads, past + length, width of a head) |

At the first call `past` is 0. Prompts of a batch are padded on the left.
"""

import onnx
import tensorflow as tf

from keras_attention.decoders import CausalLMDecoder
from keras_attention.export.onnx.conversion import convert
from keras_attention.export.signatures import Signature
from keras_attention.export.transformers_js.layout import (
    BATCH,
    LANGUAGE_MODEL,
    PAST,
    PAST_LENGTH,
    PRESENT,
    SEQUENCE,
    TOTAL_LENGTH,
)
from keras_attention.generation.logits_processors import MIN_LOG_PROB
from keras_attention.ops.ids import END
from keras_attention.ops.kv_cache import CachedPast, KVCache


def convert_language_model(decoder: CausalLMDecoder, num_bytes: int = 0) -> onnx.ModelProto:
    """Returns the ONNX model of a decoder.

    Args:
        decoder: of a language model.
        num_bytes: size of the weights.
    """
    num_layers = len(decoder.blocks)

    def read(inputs):
        ids, position_ids = (
            tf.cast(inputs[name], tf.int32) for name in ("input_ids", "position_ids")
        )  # (B, T)
        pasts = [
            CachedPast(KVCache(*(inputs[name] for name in names)), None)
            for names in cache_names(PAST, num_layers)
        ]
        total = tf.shape(inputs["attention_mask"])[1]
        slots = tf.expand_dims(tf.range(total - tf.shape(ids)[1], total), 0)  # (1, T)
        is_causal = tf.range(total) <= tf.expand_dims(slots, -1)  # (1, T, S)
        mask = is_causal & tf.expand_dims(inputs["attention_mask"] != 0, 1)  # (B, T, S)
        x = decoder.embedding(ids, positions=position_ids)  # (B, T, D)
        # Inside attention only the distances of positions matter, which are those of slots.
        x, caches = decoder.stack.full_pass(x, mask=mask, positions=slots, pasts=pasts)
        logits = decoder.embedding.logits(x)  # (B, T, V)
        # transformers.js also runs the rows of a batch that have ended; they repeat [END].
        only_end = tf.one_hot(END, decoder.vocabulary_size, 0.0, MIN_LOG_PROB)  # (V,)
        logits = tf.where(tf.expand_dims(ids == END, -1), only_end, logits)
        pairs = zip(cache_names(PRESENT, num_layers), caches, strict=True)
        present = {name: x for names, cache in pairs for name, x in zip(names, cache, strict=True)}
        return {"logits": logits, **present}

    model = convert(Signature(LANGUAGE_MODEL, read, _input_spec(decoder)), num_bytes)
    for value in (*model.graph.input, *model.graph.output):
        _name_sizes(value, _size_names(value.name))
    return model


def cache_names(kind: str, num_layers: int) -> list[KVCache]:
    """Returns the names of the keys and the values of each layer.

    Args:
        kind: `PAST` or `PRESENT`.
        num_layers: number of layers.
    """
    return [KVCache(f"{kind}.{layer}.key", f"{kind}.{layer}.value") for layer in range(num_layers)]


def _input_spec(decoder):
    ids = tf.TensorSpec((None, None), "int64")
    caches = {}
    for block, names in zip(decoder.blocks, cache_names(PAST, len(decoder.blocks)), strict=True):
        attention = block.self_attention
        for name, width in zip(names, (attention.key_dim, attention.value_dim), strict=True):
            shape = (None, attention.num_key_value_heads, None, width)
            caches[name] = tf.TensorSpec(shape, "float32")
    return {**dict.fromkeys(("input_ids", "attention_mask", "position_ids"), ids), **caches}


def _size_names(name):
    """Returns the names of the sizes of an input or output; `None` for those that are not free."""
    if name.startswith(PAST):
        return BATCH, None, PAST_LENGTH, None
    if name.startswith(PRESENT):
        return BATCH, None, TOTAL_LENGTH, None
    if name == "logits":
        return BATCH, SEQUENCE, None
    return BATCH, TOTAL_LENGTH if name == "attention_mask" else SEQUENCE


def _name_sizes(value, names):
    for size, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
        if name is not None:
            size.dim_param = name
