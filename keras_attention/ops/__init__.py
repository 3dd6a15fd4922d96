"""Pure functions on tensors: no weights, no state, keras.ops only."""

from keras_attention.ops import attention, dtypes, ids, loop, masks, monotonic, positions, scores

__all__ = ["attention", "dtypes", "ids", "loop", "masks", "monotonic", "positions", "scores"]
