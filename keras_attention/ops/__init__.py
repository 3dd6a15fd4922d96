"""Pure functions on tensors: no weights, no state, keras.ops only."""

from keras_attention.ops import attention, ids, loop, masks, monotonic, positions, scores

__all__ = ["attention", "ids", "loop", "masks", "monotonic", "positions", "scores"]
