"""Pure functions on tensors: no weights and no state.

They are written in `keras.ops`, with the backend's own functions where Keras has none.
"""

from keras_attention.ops import (
    attention,
    attention_mask,
    autodiff,
    beam_cache,
    block_mask,
    blockwise,
    cross_entropy,
    dtypes,
    fused,
    growing_loop,
    heads,
    ids,
    kv_cache,
    linear,
    loop,
    masks,
    monotonic,
    noise,
    positions,
    scores,
    segments,
)

__all__ = [
    "attention",
    "attention_mask",
    "autodiff",
    "beam_cache",
    "block_mask",
    "blockwise",
    "cross_entropy",
    "dtypes",
    "fused",
    "growing_loop",
    "heads",
    "ids",
    "kv_cache",
    "linear",
    "loop",
    "masks",
    "monotonic",
    "noise",
    "positions",
    "scores",
    "segments",
]
