"""Functions of a language model with the inputs and outputs that LiteRT-LM expects.

`prefill_T` reads T tokens of a prompt, for one or several T; `decode` reads one and returns the
logits of the next:

| | name | shape |
| --- | --- | --- |
| inputs | `tokens` | (1, T), int32 |
| | `input_pos` | (T,), int32 |
| | `mask` | (1, 1, T, L), float32: 0 for the slots to attend to |
| inputs and outputs | `kv_cache_k_N`, `kv_cache_v_N` of block N | (1, G, L, D) |
| output of `decode` | `logits` | (1, 1, vocabulary) |

L is the number of slots of a cache; slot i holds position i. The runtime fills the last `tokens` of
a prompt with 0 and masks all slots for them. What they write is behind the prompt; the mask hides
it until the next tokens replace it.
"""

import tensorflow as tf

from keras_attention.decoders import CausalLMDecoder
from keras_attention.export.litert_lm.layout import (
    DECODE,
    LOGITS,
    MASK,
    MASKED,
    POSITIONS,
    TOKENS,
    cache_names,
    prefill_name,
)
from keras_attention.export.litert_lm.lengths import Lengths
from keras_attention.export.signatures import Signature
from keras_attention.layers import DecoderBlock
from keras_attention.ops.kv_cache import KVCache


def list_functions(decoder: CausalLMDecoder, lengths: Lengths) -> list[Signature]:
    """Returns `decode` and the functions `prefill_T`.

    Args:
        decoder: of the model.
        lengths: each T, and the number of slots, L.
    """
    names = cache_names(len(decoder.blocks))

    def extend(inputs):
        caches = [KVCache(*(inputs[name] for name in of_layer)) for of_layer in names]
        x, caches = decoder.extend(
            inputs[TOKENS],
            tf.expand_dims(inputs[POSITIONS], 0),  # (1, T)
            tf.squeeze(inputs[MASK], 1) > MASKED / 2,  # (1, T, L)
            caches,
        )
        pairs = zip(names, caches, strict=True)
        updated = {
            name: array
            for of_layer, cache in pairs
            for name, array in zip(of_layer, cache, strict=True)
        }
        return x, updated

    def prefill(inputs):
        return extend(inputs)[1]

    def decode(inputs):
        x, caches = extend(inputs)
        return {LOGITS: decoder.embedding.logits(x), **caches}  # (1, 1, V)

    caches = {
        name: tf.TensorSpec(shape, "float32", name=name)
        for block, of_layer in zip(decoder.blocks, names, strict=True)
        for name, shape in zip(of_layer, cache_shapes(block, lengths.slots), strict=True)
    }

    def spec(length):
        return {
            TOKENS: tf.TensorSpec((1, length), "int32", name=TOKENS),
            POSITIONS: tf.TensorSpec((length,), "int32", name=POSITIONS),
            MASK: tf.TensorSpec((1, 1, length, lengths.slots), "float32", name=MASK),
            **caches,
        }

    return [
        Signature(DECODE, decode, spec(1)),
        *(Signature(prefill_name(length), prefill, spec(length)) for length in lengths.prefill),
    ]


def cache_shapes(block: DecoderBlock, slots: int) -> KVCache:
    """Returns the shapes of the keys and the values of a block."""
    attention = block.self_attention
    return KVCache(
        *(
            (1, attention.num_key_value_heads, slots, width)
            for width in (attention.key_dim, attention.value_dim)
        )
    )
