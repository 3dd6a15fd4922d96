"""Pure functions on tensors: no weights, no state, keras.ops only."""

from keras_attention.ops import (
    attention,
    attention_mask,
    autodiff,
    block_mask,
    blockwise,
    dtypes,
    fused,
    ids,
    loop,
    masks,
    monotonic,
    positions,
    scores,
)

__all__ = [
    "attention",
    "attention_mask",
    "autodiff",
    "block_mask",
    "blockwise",
    "dtypes",
    "fused",
    "ids",
    "loop",
    "masks",
    "monotonic",
    "positions",
    "scores",
]
