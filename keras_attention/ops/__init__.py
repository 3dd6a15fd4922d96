"""Pure functions on tensors: no weights, no state, keras.ops only."""

from keras_attention.ops import attention, ids, loop, masks, monotonic, scores

__all__ = ["attention", "ids", "loop", "masks", "monotonic", "scores"]
