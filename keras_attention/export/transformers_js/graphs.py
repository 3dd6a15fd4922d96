"""ONNX graphs with the inputs and outputs that transformers.js and Optimum expect of a translator.

The encoder is run once, the merged decoder for each token:

| graph | input | shape |
| --- | --- | --- |
| `encoder_model` | `input_ids`, `attention_mask` | (batch, source), int64 |
| `decoder_model_merged` | `input_ids` | (batch, 1), int64 |
| | `encoder_hidden_states` | (batch, source, D) |
| | `encoder_attention_mask` | (batch, source), int64 |
| | `past_key_values.N.decoder.key`, `.value` | (batch, heads, past, D / heads) |
| | `past_key_values.N.encoder.key`, `.value` | (batch, heads, source, D / heads) |
| | `use_cache_branch` | (1,), bool |

The encoder returns `last_hidden_state`, the decoder `logits` (batch, 1, vocabulary) and for each
`past_key_values.N` a `present.N`. At the first step `use_cache_branch` is False: the keys and
values of the past are ignored, whatever their length, and those of the encoder are computed.
"""

from collections.abc import Sequence

import numpy as np
import onnx
import tensorflow as tf
from keras import ops

from keras_attention.export.onnx.conversion import convert
from keras_attention.export.signatures import Signature
from keras_attention.export.transformers_js.layout import (
    BATCH,
    DECODER,
    ENCODER,
    LENGTHS,
    PAST,
    PRESENT,
    SOURCE,
)
from keras_attention.generation.logits_processors import MIN_LOG_PROB
from keras_attention.models import EncoderDecoder
from keras_attention.ops.attention import Memory
from keras_attention.ops.beam_cache import BeamCache, CacheState, init_beams
from keras_attention.ops.ids import END, PAD
from keras_attention.ops.kv_cache import KVCache, empty_slots, fill_slots, read_slots

SIDES = ("decoder", "encoder")


def convert_encoder(
    model: EncoderDecoder, source_ids: Sequence[int], num_bytes: int = 0
) -> onnx.ModelProto:
    """Returns the ONNX model of the encoder.

    Args:
        model: the model.
        source_ids: for each id of the tokenizer the encoder's id.
        num_bytes: size of the weights.
    """
    table = np.array(source_ids, "int32")

    def encode(inputs):
        mask = inputs["attention_mask"] != 0  # (B, S)
        ids = tf.where(mask, tf.gather(table, inputs["input_ids"]), PAD)
        # transformers.js truncates a text behind [END], this library in front of it.
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1, keepdims=True)
        ids = tf.where(tf.range(tf.shape(ids)[1]) == lengths - 1, END, ids)
        return {"last_hidden_state": model.encoder(ids)["sequence"]}

    ids = tf.TensorSpec((None, None), "int64")
    signature = Signature(ENCODER, encode, {"input_ids": ids, "attention_mask": ids})
    return _with_named_sizes(convert(signature, num_bytes))


def convert_decoder(model: EncoderDecoder, num_bytes: int = 0) -> onnx.ModelProto:
    """Returns the ONNX model of the decoder, which has all weights once.

    Args:
        model: the model.
        num_bytes: size of the weights.
    """
    decoder = model.decoder

    def decode(inputs):
        use_cache = tf.reshape(inputs["use_cache_branch"], ())
        mask = inputs["encoder_attention_mask"] != 0  # (B, S)
        past, cached = (_caches(inputs, side, len(decoder.blocks)) for side in SIDES)

        def project():
            memories = decoder.stack.memories(inputs["encoder_hidden_states"])
            return [KVCache(memory.keys, memory.values) for memory in memories]

        of_encoder = tf.cond(use_cache, lambda: cached, project)  # (B, H, S, D / H)
        positions = tf.expand_dims(tf.range(tf.shape(mask)[1]), 0)  # (1, S)
        memories = [Memory(each.values, each.keys, mask, positions) for each in of_encoder]
        length = tf.where(use_cache, tf.shape(past[0].keys)[2], 0)
        past = [KVCache(*(x[:, :, :length] for x in cache)) for cache in past]
        caches = [_with_slot(cache) for cache in past]
        state = CacheState(caches, init_beams(tf.shape(mask)[0], 1, length + 1))
        ids, positions = tf.cast(inputs["input_ids"], tf.int32), tf.reshape(length, (1, 1))
        x = decoder.embedding(ids, positions=positions)  # (B, 1, D)
        x, _, state = decoder.stack.step(x, memories, state, length, positions)
        logits = decoder.embedding.logits(x)
        # transformers.js also runs the rows of a batch that have ended; they repeat [END].
        only_end = tf.one_hot(END, decoder.vocabulary_size, 0.0, MIN_LOG_PROB)  # (V,)
        logits = tf.where(tf.expand_dims(ids == END, -1), only_end, logits)
        present = [_with_recent(*each) for each in zip(past, state.caches, strict=True)]
        return {
            "logits": logits,
            **_named_caches(PRESENT, "decoder", present),
            **_named_caches(PRESENT, "encoder", of_encoder),
        }

    signature = Signature(DECODER, decode, _decoder_spec(model))
    return _with_named_sizes(convert(signature, num_bytes))


def cache_names(kind: str, side: str, num_layers: int) -> list[KVCache]:
    """Returns the names of the keys and the values of each layer.

    Args:
        kind: `PAST` or `PRESENT`.
        side: `"decoder"` or `"encoder"`.
        num_layers: number of layers.
    """
    return [
        KVCache(f"{kind}.{layer}.{side}.key", f"{kind}.{layer}.{side}.value")
        for layer in range(num_layers)
    ]


def _caches(inputs, side, num_layers):
    return [
        KVCache(*(inputs[name] for name in names)) for names in cache_names(PAST, side, num_layers)
    ]


def _named_caches(kind, side, caches):
    names = cache_names(kind, side, len(caches))
    return {
        name: x
        for cache, of_cache in zip(caches, names, strict=True)
        for x, name in zip(cache, of_cache, strict=True)
    }


def _with_slot(past: KVCache) -> BeamCache:
    """Returns a cache of one beam with these past keys and values and one more slot."""
    batch, heads, _, width = ops.shape(past.keys)
    return BeamCache(fill_slots(past, 1), empty_slots((batch, heads), 1, width, width))


def _with_recent(past: KVCache, cache: BeamCache) -> KVCache:
    """Returns the past keys and values and those of the slot that a step has written."""
    recent = read_slots(cache.recent)
    return KVCache(*(tf.concat(pair, axis=2) for pair in zip(past, recent, strict=True)))


def _decoder_spec(model: EncoderDecoder) -> dict[str, tf.TensorSpec]:
    source_width, width = (part.embedding.embedding_dim for part in (model.encoder, model.decoder))
    heads = model.decoder.blocks[0].num_heads
    cache = tf.TensorSpec((None, heads, None, width // heads), "float32")
    names = [
        name
        for side in SIDES
        for of_layer in cache_names(PAST, side, len(model.decoder.blocks))
        for name in of_layer
    ]
    return {
        "input_ids": tf.TensorSpec((None, 1), "int64"),
        "encoder_hidden_states": tf.TensorSpec((None, None, source_width), "float32"),
        "encoder_attention_mask": tf.TensorSpec((None, None), "int64"),
        "use_cache_branch": tf.TensorSpec((1,), "bool"),
        **dict.fromkeys(names, cache),
    }


def _with_named_sizes(converted: onnx.ModelProto) -> onnx.ModelProto:
    """Names the free sizes of inputs and outputs, those of the batch and of a length."""
    for value in (*converted.graph.input, *converted.graph.output):
        kind = value.name.split(".")[0]
        length = LENGTHS.get(kind, SOURCE) if ".decoder." in value.name else SOURCE
        sizes = value.type.tensor_type.shape.dim
        for i, size in enumerate(sizes):
            if not size.HasField("dim_value"):
                size.dim_param = BATCH if i == 0 else length
        if value.name == "logits":
            sizes[1].dim_value = 1
    return converted
