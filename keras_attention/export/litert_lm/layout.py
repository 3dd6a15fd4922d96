"""Names of the functions of a `.litertlm` file, and of their inputs and outputs."""

from keras_attention.ops.kv_cache import KVCache

DECODE, PREFILL, CACHE = "decode", "prefill", "kv_cache"
TOKENS, POSITIONS, MASK, LOGITS = "tokens", "input_pos", "mask", "logits"
# LiteRT-LM's score of masked slots; in float32 it is the greatest float times -0.7.
MASKED = -45824.0


def prefill_name(length: int) -> str:
    """Returns the name of the function that reads `length` tokens of a prompt."""
    return f"{PREFILL}_{length}"


def cache_names(num_layers: int) -> list[KVCache]:
    """Returns the names of the keys and the values of each block."""
    return [KVCache(f"{CACHE}_k_{layer}", f"{CACHE}_v_{layer}") for layer in range(num_layers)]
